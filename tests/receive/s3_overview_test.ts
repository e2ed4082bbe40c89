// The tills of a bucket, from its listings: over pages, without other objects, seldom, and never twice
// at a time.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import { S3Client } from "../../src/receive/s3_client.ts";
import { MAX_S3_AGE_MS, S3Overview, STALE_MS } from "../../src/receive/s3_overview.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import { BUCKET, problem, S3Double } from "../fixtures/s3_double.ts";
import { turn } from "../fixtures/settled.ts";
import { systemClock } from "../../src/system/clock.ts";

/** Where no look fails. */
const onFailure = (error: unknown) => {
  throw error;
};
const NOTHING = { bytes: new Uint8Array(0), headers: {} };

Deno.test("the tills of a bucket are those whose chunks it has, with the latest day of each", async () => {
  await using double = new S3Double();
  double.pageSize = 2;
  let nowMs = 0;
  const clock = { ...systemClock, sleep: () => Promise.resolve(), monotonicMs: () => nowMs };
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials), caCerts: [], clock },
  });
  const overview = new S3Overview({ client, prefix: "a/", clock, onFailure });
  const add = (prefix: string, index: number) => {
    const name = makeName(index);
    const day = new Date(name.startUnixUs / 1000).toISOString().slice(0, 10);
    double.objects.set(`${prefix}${day}/${formatChunkName(name)}`, NOTHING);
  };
  const [one, two] = [ids.deviceId, ids.registerId];
  const device = `a/${ids.pointId}/${ids.registerId}/${one}/`;
  // Yesterday, and today five minutes with a hole; another till; and other objects.
  for (const index of [-1440, 0, 1, 2, 4]) add(device, index);
  add(`a/${ids.pointId}/${ids.registerId}/${two}/`, -1440);
  add(`${ids.pointId}/${ids.registerId}/${two}/`, 7);
  add(`a/${ids.pointId}/${ids.registerId}/lost+found/`, 7);
  for (
    const name of ["a/.receiver", `${device}.unsynchronized/x`, `${device}2026-11-25/note.txt`]
  ) {
    double.objects.set(name, NOTHING);
  }
  const { tills, isCut } = await overview.read();
  assertEquals(isCut, false);
  assertEquals(tills.map(({ deviceId, day, coverage }) => [deviceId, day, coverage.chunks]), [
    [two, "2026-11-22", 1],
    [one, "2026-11-23", 4],
  ]);
  assertEquals(tills[1]?.coverage.holes.length, 3);
  const listings = () => double.requests.filter(({ name }) => name === "").length;
  const requests = listings();
  nowMs = MAX_S3_AGE_MS - 1;
  assertEquals((await overview.read()).tills, tills);
  assertEquals(listings(), requests, "a minute long nobody looks again");
  // A look that lasts shows what was there before.
  add(device, 5);
  const going = Promise.withResolvers<null>();
  double.fault = () => going.promise;
  nowMs = MAX_S3_AGE_MS + 1;
  const both = await Promise.all([overview.read(), overview.read()]);
  assertEquals(both.map(({ tills }) => tills[1]?.coverage.chunks), [4, 4]);
  going.resolve(null);
  while ((await overview.read()).tills[1]?.coverage.chunks !== 5) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  // The chunk that came needs one more page.
  assertEquals(listings(), 2 * requests + 1, "two readers make one look");
});

Deno.test("a bucket that cannot be listed is an error now, and looked at again by the next reader", async () => {
  await using double = new S3Double();
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials), caCerts: [] },
    clock: systemClock,
  });
  const overview = new S3Overview({ client, prefix: "", clock: systemClock, onFailure });
  double.fault = () => problem(403, "AccessDenied", "No.");
  await assertRejects(() => overview.read(), Error, "has no right to this");
  double.fault = () => null;
  assertEquals((await overview.read()).tills, []);
});

/** Three tills in a bucket, looked at in simulated time. */
function threeTills(double: S3Double) {
  let nowMs = 0;
  const clock = {
    ...{ monotonicMs: () => nowMs, unixMs: () => LOOKED + nowMs },
    sleep: (): Promise<void> => Promise.resolve(),
  };
  const client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials), caCerts: [] },
    clock: { ...clock, unixMs: () => Date.now(), sleep: () => clock.sleep() },
  });
  const errors: string[] = [];
  const overview = new S3Overview({
    ...{ client, prefix: "", clock },
    onFailure: (error) => errors.push(String(error)),
  });
  const devices = [ids.deviceId, ids.registerId, ids.pointId].sort()
    .map((device) => `${ids.pointId}/${ids.registerId}/${device}/`);
  const add = (device: number, index: number) => {
    const name = makeName(index);
    const day = new Date(name.startUnixUs / 1000).toISOString().slice(0, 10);
    double.objects.set(`${devices[device]}${day}/${formatChunkName(name)}`, NOTHING);
  };
  for (const device of [0, 1, 2]) add(device, 0);
  return {
    ...{ add, clock, client, devices, errors },
    read: () => overview.read(),
    /** The overview after a look this much later. */
    async readLater(ms: number) {
      const state = async () => {
        const looked = await overview.read().then(({ lookedUnixMs }) => lookedUnixMs, () => null);
        return `${looked} ${errors.length}`;
      };
      const before = await state();
      nowMs += ms;
      while (await state() === before) await turn();
      return await overview.read();
    },
  };
}
const LOOKED = Date.UTC(2026, 10, 23, 13);

Deno.test("while a bucket cannot be listed, what was seen is shown for a quarter of an hour and each look says why", async () => {
  await using double = new S3Double();
  const tills = threeTills(double);
  using _ = tills.client;
  assertEquals((await tills.read()).tills.length, 3);
  double.fault = () => problem(403, "AccessDenied", "No.");
  const shown = await tills.readLater(STALE_MS);
  assertEquals([shown.tills.length, shown.lookedUnixMs], [3, LOOKED]);
  assertEquals(tills.errors.length, 1);
  assertMatch(tills.errors[0] ?? "", /has no right to this/);
  await assertRejects(() => tills.readLater(MAX_S3_AGE_MS), Error, "has no right to this");
  double.fault = () => null;
  const again = await tills.readLater(MAX_S3_AGE_MS);
  assertEquals(again.tills.length, 3);
});

Deno.test("a till that cannot be listed stays as it was, with its time; one that was never seen is counted", async () => {
  await using double = new S3Double();
  const tills = threeTills(double);
  using _ = tills.client;
  const isOf = (device: number, prefix: string | null) =>
    prefix?.startsWith(tills.devices[device] ?? "-") ?? false;
  const refuse = (...devices: number[]) => {
    double.fault = ({ prefix }) =>
      devices.some((device) => isOf(device, prefix)) ? problem(403, "AccessDenied", "No.") : null;
  };
  refuse(2);
  const first = await tills.read();
  assertEquals([first.tills.length, first.unseen, first.lookedUnixMs], [2, 1, LOOKED]);
  refuse(1);
  for (const device of [0, 1, 2]) tills.add(device, 1);
  const second = await tills.readLater(MAX_S3_AGE_MS);
  assertEquals(second.tills.map(({ coverage }) => coverage.chunks), [2, 1, 2]);
  assertEquals([second.unseen, second.lookedUnixMs], [0, LOOKED]);
  refuse();
  const third = await tills.readLater(MAX_S3_AGE_MS);
  assertEquals(third.tills.map(({ coverage }) => coverage.chunks), [2, 2, 2]);
  assertEquals([third.unseen, third.lookedUnixMs], [0, LOOKED + 2 * MAX_S3_AGE_MS]);
  assertEquals(tills.errors.length, 2);
});

Deno.test("a chunk with a time in the future does not make its day the latest one", async () => {
  await using double = new S3Double();
  const tills = threeTills(double);
  using _ = tills.client;
  tills.add(0, 400 * 1440);
  tills.add(1, 14 * 60);
  const found = (await tills.read()).tills
    .map(({ day, coverage, hasFuture }) => [day, coverage.chunks, hasFuture]);
  assertEquals(found, [["2026-11-23", 1, true], ["2026-11-23", 1, true], ["2026-11-23", 1, false]]);
});

Deno.test("a look waits for its turns while uploads have all of them", async () => {
  await using double = new S3Double();
  const tills = threeTills(double);
  using client = tills.client;
  const uploads = Promise.withResolvers<void>();
  const { limit } = client.turns.state;
  const all = Array.from(
    { length: limit },
    () => client.turns.take("a till", () => uploads.promise),
  );
  // Each wait for a turn is over at once.
  let waits = 0;
  tills.clock.sleep = () => {
    if (++waits === 4) uploads.resolve();
    return Promise.resolve();
  };
  assertEquals((await tills.read()).tills.length, 3);
  await Promise.all(all);
});

Deno.test("a store that lists without an end is refused, however it names its pages", async () => {
  let pages = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    const next = `<NextContinuationToken>${pages++ % 2}</NextContinuationToken>`;
    return new Response(`<ListBucketResult><IsTruncated>true</IsTruncated>${next}`);
  });
  const endpoint = `http://127.0.0.1:${server.addr.port}`;
  const access = () =>
    parseS3Access(
      `endpoint_url = ${endpoint}\nregion = a\naws_access_key_id = a\naws_secret_access_key = b`,
    );
  using client = new S3Client({ bucket: BUCKET, access, caCerts: [], clock: systemClock });
  await assertRejects(() => Array.fromAsync(client.list("", "/")), Error, "without an end");
  assertEquals(pages, 200);
  await server.shutdown();
});
