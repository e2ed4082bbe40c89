// Where chunks go in an object store, and with which keys: the address s3://BUCKET/PREFIX, and the file
// with the credentials in the format that other S3 clients use. It opens no file. Pure.

/** A bucket, and the beginning of all names in it: "" or a text that ends with a slash. */
export interface S3Place {
  readonly bucket: string;
  readonly prefix: string;
}

export interface S3Access {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Null: keys that do not expire. */
  readonly sessionToken: string | null;
  readonly region: string;
  /** Scheme, host and port, without a path. */
  readonly endpoint: string;
}

/** What each setting in the file is, for messages, and whether a value is one. */
const SETTINGS = {
  aws_access_key_id: ["an access key", /^[\x21-\x7e]{1,256}$/],
  aws_secret_access_key: ["a secret key", /^[\x21-\x7e]{1,256}$/],
  aws_session_token: ["a session token", /^[\x21-\x7e]{1,8192}$/],
  region: ["a region such as eu-central-1", /^[a-z0-9-]{1,64}$/i],
  endpoint_url: ["a URL such as https://s3.example.com", /^https?:\/\/[^/?#@\s]+\/?$/i],
} as const;
type Setting = keyof typeof SETTINGS;

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Characters that mean the same in a name, a URL and XML. */
const PREFIX = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

/**
 * The place that `--store s3://BUCKET/PREFIX` names; the prefix ends with "/" or is empty.
 * @throws {Error} that says what would be right.
 */
export function parseS3Place(text: string): S3Place {
  const [, bucket = "", path = ""] = /^s3:\/\/([^/]+)\/?(.*?)\/?$/.exec(text) ?? [];
  const isPrefix = path === "" ||
    (PREFIX.test(path) && !path.split("/").some((part) => part === "." || part === ".."));
  if (!BUCKET.test(bucket) || !isPrefix || path.length > 512) {
    throw new Error(
      `Cannot use --store as it must be s3://BUCKET or s3://BUCKET/PREFIX of letters, digits, ` +
        `".", "_" and "-": current value is ${JSON.stringify(text)}`,
    );
  }
  return { bucket, prefix: path === "" ? "" : `${path}/` };
}

/**
 * The keys in a credentials file of the AWS tools with one profile, and where the bucket is.
 * @throws {Error} that names the lines that are wrong, and never what is in them.
 */
export function parseS3Access(text: string): S3Access {
  const found = new Map<Setting, string>();
  const wrong: string[] = [];
  text.split("\n").forEach((raw, index) => {
    const line = raw.trim();
    if (line === "" || /^[#;]/.test(line) || line === "[default]") return;
    const [, name = "", value = ""] = /^([a-z_]+)\s*=\s*(.*)$/.exec(line) ?? [];
    const where = `line ${index + 1}`;
    if (!isSetting(name)) {
      wrong.push(`${where} is not one of ${Object.keys(SETTINGS).join(", ")}`);
    } else if (!SETTINGS[name][1].test(value)) {
      wrong.push(`${where}: ${name} must be ${SETTINGS[name][0]}`);
    } else if (found.has(name)) wrong.push(`${where}: ${name} is set twice`);
    else found.set(name, value);
  });
  const [accessKeyId, secretAccessKey] = [
    found.get("aws_access_key_id"),
    found.get("aws_secret_access_key"),
  ];
  if (wrong.length === 0 && accessKeyId === undefined) wrong.push("aws_access_key_id is missing");
  if (wrong.length === 0 && secretAccessKey === undefined) {
    wrong.push("aws_secret_access_key is missing");
  }
  if (wrong.length > 0 || accessKeyId === undefined || secretAccessKey === undefined) {
    throw new Error(wrong.join("; "));
  }
  const region = found.get("region") ?? "us-east-1";
  const endpoint = found.get("endpoint_url") ?? `https://s3.${region}.amazonaws.com`;
  return {
    ...{ accessKeyId, secretAccessKey, region },
    sessionToken: found.get("aws_session_token") ?? null,
    endpoint: endpoint.replace(/\/$/, ""),
  };
}

function isSetting(name: string): name is Setting {
  return Object.hasOwn(SETTINGS, name);
}
