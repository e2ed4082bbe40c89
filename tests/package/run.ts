// deno-lint-ignore-file no-console -- a person runs this
// Runs every command of docs/how-to/debian-package.md, except those that need a running systemd or another machine,
// in a Debian 12 and 13 of their own, with a package of this source: installed, upgraded, removed and purged as a
// file, and installed from a signed repository; and holds what stays. The playbook runs in Debian 12. live.ts has
// what needs a running systemd, tests/vm/scenarios/package.ts what needs a machine.
//
// `deno task test:package [DIR]`, as root; DIR keeps the systems that debootstrap installs there, so that the next
// run does not do it again. Nothing outside DIR changes: the mounts are those of a private namespace.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { exists } from "../../src/system/disk.ts";
import { buildBinaries } from "../fixtures/binaries.ts";
import { run } from "../fixtures/command.ts";
import { Document } from "../fixtures/documents.ts";
import { DEAF_PROGRAM, live, LIVE_VERSIONS } from "./live.ts";

const SOURCE = new URL("../..", import.meta.url).pathname;
const NEEDED = "dbus,ffmpeg,procps,systemd,systemd-sysv,udev,ca-certificates,gnupg,apt-utils";
/**
 * What is installed; debootstrap cannot order the packages of Ansible in Debian 13, and does not find
 * python3-cffi-backend, which others need under another name.
 */
const SYSTEMS = {
  debian12: {
    suite: "bookworm",
    packages: `${NEEDED},ansible-core,python3-apt,python3-cffi-backend`,
  },
  debian13: { suite: "trixie", packages: NEEDED },
} as const;
const VERSIONS = ["0.9.1", "0.9.2"] as const;
const [DEB, NEXT] = VERSIONS.map((version) => `recorder-agent_${version}_amd64.deb`) as [
  string,
  string,
];

/** The commands of the page that need another machine or a running systemd. */
const ELSEWHERE = /^(scp |sudo recorder-agent |recorder-agent )/;

/** What the shell of the system finds before the lines of the page. */
const PROLOGUE = `set -eu
export DEBIAN_FRONTEND=noninteractive GNUPGHOME=/root/.gnupg HOME=/root
sudo() { "$@"; }
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
cd /work
cp dist/${DEB} recorder-agent.deb
`;

/** The folder of a system. */
interface Place {
  readonly dir: string;
  readonly name: keyof typeof SYSTEMS;
}

/** Runs a script in the system, on a layer that is gone afterwards. Returns its output. */
async function inSystem({ dir, name }: Place, script: string): Promise<string> {
  const layer = await Deno.makeTempDir({ prefix: "package-test-" });
  const root = join(layer, "root");
  for (const name of ["root", "upper", "work"]) await Deno.mkdir(join(layer, name));
  await Deno.writeTextFile(join(layer, "script"), script);
  const mounts = [
    `mount -t tmpfs tmpfs ${layer}`,
    `mkdir -p ${root} ${layer}/upper ${layer}/work`,
    `mount -t overlay overlay -o lowerdir=${dir}/${name},upperdir=${layer}/upper,workdir=${layer}/work ${root}`,
    `mkdir -p ${root}/work ${root}/dev/shm`,
    `cp -r ${dir}/work/. ${root}/work`,
    `mount -t proc proc ${root}/proc`,
    `mount --rbind /dev ${root}/dev`,
    `exec chroot ${root} bash -c "$SCRIPT"`,
  ];
  try {
    const { stdout } = await run("unshare", ["--mount", "sh", "-ec", mounts.join("\n")], {
      env: { SCRIPT: script },
    });
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(layer, { recursive: true });
  }
}

/** The lines of the page between two headings that run here. */
function blocksOf(page: Document): string[] {
  return page.blocks("sh").map((block) =>
    block.split("\n").filter((line) => !ELSEWHERE.test(line)).join("\n")
      .replaceAll("https://apt.example.com", "copy:/work/repository")
  );
}

/** What is there after a step, for the assertions. */
const LOOK = `echo "--"; dpkg-query -W -f '\${Status}\\n' recorder-agent 2>/dev/null || echo gone
for f in /usr/bin/recorder-agent /etc/recorder-agent/config.yaml /etc/recorder-agent/token \\
  /var/lib/recorder-agent/spool/outbox/a.ogg /var/lib/recorder-agent-update; do [ ! -e $f ] || echo $f; done
getent passwd recorder-agent | cut -d: -f1; id -nG recorder-agent; echo "++"
`;
/** What a till has after some time. */
const USED = `mkdir -p /var/lib/recorder-agent/spool/outbox
touch /var/lib/recorder-agent/spool/outbox/a.ogg /etc/recorder-agent/config.yaml /etc/recorder-agent/token
`;

function looks(output: string): string[][] {
  return output.split("--\n").slice(1).map((part) =>
    (part.split("++")[0] ?? "").trim().split("\n")
  );
}

async function removed(place: Place): Promise<void> {
  const [install = "", remove = ""] = blocksOf(new Document("docs/how-to/debian-package.md")).slice(
    1,
  );
  const [toRemove = "", toPurge = ""] = remove.split("\n");
  const script = `${PROLOGUE}${install}\n${USED}${LOOK}${toRemove}\n${LOOK}${toPurge}\n${LOOK}`;
  const [installed, kept, purged] = looks(await inSystem(place, script));
  const [program, config, token, chunk] = [
    "/usr/bin/recorder-agent",
    "/etc/recorder-agent/config.yaml",
    "/etc/recorder-agent/token",
    "/var/lib/recorder-agent/spool/outbox/a.ogg",
  ];
  const user = ["recorder-agent", "recorder-agent audio"];
  assertEquals(installed, ["install ok installed", program, config, token, chunk, ...user]);
  assertEquals(kept, ["deinstall ok config-files", config, token, chunk, ...user]);
  assertEquals(purged?.slice(1), [chunk, ...user]);
  console.log("✔ installed, removed and purged from a file");
}

async function upgraded(place: Place): Promise<void> {
  const units = ["", "-update", "-setup"].map((part) => `recorder-agent${part}.service`);
  const said = await inSystem(
    place,
    `${PROLOGUE}
states() {
  echo "=="; for unit in ${units.join(" ")}; do systemctl is-enabled $unit || true; done
  [ ! -e /usr/bin/recorder-agent.old ] || echo "previous kept"
}
apt-get install --yes ./recorder-agent.deb
${USED}
states
systemctl enable recorder-agent.service recorder-agent-led@ACT.service
systemctl disable recorder-agent-setup.service
apt-get install --yes ./dist/${NEXT}
states
systemctl disable recorder-agent.service
systemctl enable recorder-agent-setup.service
apt-get install --yes --allow-downgrades ./dist/${DEB}
states
apt-get remove --yes recorder-agent
apt-get install --yes ./dist/${NEXT}
states
apt-get purge --yes recorder-agent
echo "=="; find /etc/systemd /var/lib/systemd /usr/lib/systemd /usr/bin -name 'recorder-agent*'
echo "=="; find /var/lib/recorder-agent -type f
`,
  );
  const [first, second, third, again, left, kept] = said.split("==\n").slice(1)
    .map((part) =>
      part.split("\n").filter((line) => /^(enabled|disabled|previous kept|\/.*)$/.test(line))
    );
  assertEquals(first, ["disabled", "enabled", "enabled"], said);
  assertEquals(second, ["enabled", "enabled", "disabled", "previous kept"], "upgrade");
  assertEquals(third, ["disabled", "enabled", "enabled", "previous kept"], "downgrade");
  assertEquals(again, ["disabled", "enabled", "enabled"], "removed and installed again");
  assertEquals(left, [], "purge");
  assertEquals(kept, ["/var/lib/recorder-agent/spool/outbox/a.ogg"]);
  console.log(
    "✔ upgraded and downgraded: what somebody has disabled stays disabled; purged without a rest",
  );
}

async function fromRepository(place: Place): Promise<void> {
  const [publish = "", subscribe = ""] = blocksOf(new Document("docs/how-to/debian-package.md"))
    .slice(3);
  const [found] = looks(await inSystem(place, `${PROLOGUE}${publish}\n${subscribe}\n${LOOK}`));
  assertEquals(found?.[0], "install ok installed");
  const forged = `${PROLOGUE}${publish}\ngpg --batch --passphrase '' --quick-generate-key other
gpg --batch --yes -u other --clearsign --output InRelease Release\n${subscribe} && echo accepted || echo refused`;
  const said = await inSystem(place, forged).catch(String);
  assert(!said.includes("accepted"), said);
  console.log("✔ installed from a signed repository; one that another key signed is refused");
}

async function byPlaybook(place: Place): Promise<void> {
  // The service cannot be started without systemd; what its command was given is what counts here.
  const script = `${PROLOGUE}
cat > tills.ini <<'END'
[tills]
localhost ansible_connection=local settings="{'opus_bitrate_kbps': 32}"
[tills:vars]
ingest_base_url=https://ingest.example.com
ingest_token=a-token
package=/work/dist/${DEB}
END
# In the place of the program of the package, and a copied one, which PATH finds first.
dpkg-divert --rename --divert /usr/bin/recorder-agent.packaged --add /usr/bin/recorder-agent
cat > /usr/bin/recorder-agent <<'END'
#!/bin/sh
[ ! -e /work/refuses ] || exit 1
cat "$3" >> /work/taken; rm "$3"
END
printf '#!/bin/sh\nexit 1\n' > /usr/local/bin/recorder-agent
chmod 755 /usr/bin/recorder-agent /usr/local/bin/recorder-agent
left() { grep -rl 'ingest_token: a-token' /etc /root /run /tmp /var || echo "no token left"; }
export LC_ALL=C.UTF-8 ANSIBLE_LOCALHOST_WARNING=False
ansible-playbook --inventory tills.ini packaging/ansible/tills.yml
ansible-playbook --inventory tills.ini packaging/ansible/tills.yml
ansible-playbook --inventory tills.ini packaging/ansible/tills.yml -e '{"settings": {"chunk_seconds": 30}}'
echo "=="; cat taken
echo "=="; left
touch refuses
ansible-playbook --inventory tills.ini packaging/ansible/tills.yml -e '{"settings": {"chunk_seconds": 20}}' || echo refused
left
`;
  const output = await inSystem(place, script);
  const [, taken = "", after = ""] = output.split("==\n");
  assertEquals(taken.match(/ingest_token: a-token/g)?.length, 2, output);
  assert(taken.includes("opus_bitrate_kbps: 32"), "the inventory has settings for this till");
  assert(taken.includes("chunk_seconds: 30"), output);
  assertMatch(after, /^no token left\n[^]*\nrefused\nno token left\n$/, output);
  const changed = [...output.matchAll(/changed=(\d+)/g)].map(([, count]) => Number(count));
  assertEquals(changed[1], 0, "a second run changes nothing");
  console.log("✔ the playbook installs, sets up, and changes nothing when it is run again");
}

const dir = Deno.args[0] ?? "/tmp/recorder-agent-package";
await Deno.mkdir(join(dir, "work/dist"), { recursive: true });
for (const [name, { suite, packages }] of Object.entries(SYSTEMS)) {
  if (await exists(join(dir, name, "installed"))) continue;
  console.log(`Installing ${name}; this takes some minutes.`);
  const root = join(dir, name);
  await run("debootstrap", ["--variant=minbase", `--include=${packages}`, suite, root]);
  await Deno.writeTextFile(join(root, "installed"), "");
}
await run("cp", ["-r", join(SOURCE, "packaging"), join(dir, "work")]);
const given = Deno.env.get("RECORDER_BINARY");
const [out, files] = [join(dir, "work/dist"), join(dir, "live")];
await Deno.mkdir(files, { recursive: true });
const pack = async (program: string, version: string, out: string) => {
  const args = [SOURCE, program, "x86_64-unknown-linux-gnu", version, out];
  const env = { SOURCE_DATE_EPOCH: "1795000000" };
  await run(join(SOURCE, ".ci/debian_package"), args, { env });
};
{
  await using binaries = given === undefined ? await buildBinaries() : null;
  const program = given ?? binaries?.x64 ?? "";
  for (const version of VERSIONS) await pack(program, version, out);
  for (const version of LIVE_VERSIONS.good) await pack(program, version, files);
  await Deno.writeTextFile(join(dir, "deaf"), DEAF_PROGRAM, { mode: 0o755 });
  await pack(join(dir, "deaf"), LIVE_VERSIONS.deaf, files);
}
await run("lintian", ["--allow-root", "--fail-on", "error,warning", join(out, DEB)]);
console.log("✔ lintian finds no error and no warning");
for (const name of Object.keys(SYSTEMS) as (keyof typeof SYSTEMS)[]) {
  console.log(`${name}:`);
  const place = { dir, name };
  await removed(place);
  await upgraded(place);
  await fromRepository(place);
  await live(join(dir, name), files);
  if (name === "debian12") await byPlaybook(place);
}
