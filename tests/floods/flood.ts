// deno-lint-ignore-file no-console -- the test reads what it prints
// `flood.ts KIND PORT`: a program that floods a port of this machine until it is killed. It imports nothing,
// so that it runs as a user who may read nothing else. Prints the number of connections it made, each second.

const [kind = "", port = ""] = Deno.args;
const encoder = new TextEncoder();
const REQUEST = "GET / HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\r\n";

interface Flood {
  readonly clients: number;
  /** Sent at once; what comes back is read only if `isReading`. */
  readonly text: string;
  /** Sent every second. */
  readonly drip: string;
  readonly isReading: boolean;
  /** Sent when something came back. */
  readonly again?: string;
}

const FLOODS: Readonly<Record<string, Flood>> = {
  /** Opens connections and says nothing. */
  silence: { clients: 4100, text: "", drip: "", isReading: true },
  /** Sends heads that never end. */
  heads: { clients: 3500, text: "GET / HTTP/1.1\r\nx: ", drip: "y", isReading: true },
  /** Asks for the page as fast as it comes. */
  requests: { clients: 64, text: REQUEST.repeat(20), drip: "", isReading: true, again: REQUEST },
  /** Asks for pages and reads none of them. */
  unread: { clients: 200, text: REQUEST.repeat(200), drip: "", isReading: false },
  /** Opens event streams and reads none of them. */
  events: {
    clients: 200,
    text: "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n",
    drip: "",
    isReading: false,
  },
};

const flood = FLOODS[kind];
if (flood === undefined) throw new Error(`Cannot flood with "${kind}"`);
let made = 0;

async function attack({ text, drip, isReading, again }: Flood): Promise<void> {
  const buffer = new Uint8Array(65_536);
  while (true) {
    try {
      using client = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
      made++;
      await client.write(encoder.encode(text));
      const timer = drip === "" ? null : setInterval(() => {
        client.write(encoder.encode(drip)).catch(() => {});
      }, 1000);
      try {
        if (!isReading) await new Promise((resolve) => setTimeout(resolve, 5000));
        while (isReading && await client.read(buffer) !== null) {
          if (again !== undefined) await client.write(encoder.encode(again));
        }
      } finally {
        if (timer !== null) clearInterval(timer);
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

for (let client = 0; client < flood.clients; client++) attack(flood);
setInterval(() => console.log(made), 1000);
