import { assert, assertEquals } from "@std/assert";
import { type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { OldestNames } from "../../src/spool/oldest_names.ts";
import { seededRandom, seededUuid } from "../fixtures/random.ts";

const any = () => true;
const START_US = Date.UTC(2026, 5, 15, 12) * 1000;

/** Names as they may come: a share of them provisional, with `starts` different start times. */
function nameMaker(random: () => number, starts: number, share = 0.2): () => ChunkName {
  const whole = (below: number) => Math.floor(random() * below);
  return () => {
    const name = {
      startUnixUs: START_US + whole(starts) * 1_000_003,
      durationUs: random() < 0.5 ? 60_000_000 : whole(1000),
      key: seededUuid(random),
    };
    if (random() >= share) return name;
    const provisional = {
      bootId: seededUuid(random).slice(0, 8),
      startBootUs: random() < 0.2 ? 0 : whole(1e15),
      seenUnixS: random() < 0.5 ? null : whole(2e9),
    };
    return { ...name, provisional };
  };
}

const texts = new WeakMap<ChunkName, string>();

/** The file name of a name of the model, which is compared often. */
function textOf(name: ChunkName): string {
  const known = texts.get(name) ?? formatChunkName(name);
  texts.set(name, known);
  return known;
}

/** Names in the order of their file names. */
function sorted(names: readonly ChunkName[]): ChunkName[] {
  return names.toSorted((a, b) => textOf(a) < textOf(b) ? -1 : 1);
}

/** Puts a name into a sorted list. */
function insert(names: ChunkName[], name: ChunkName): void {
  const text = textOf(name);
  let [from, to] = [0, names.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (textOf(names[middle] ?? name) < text) from = middle + 1;
    else to = middle;
  }
  names.splice(from, 0, name);
}

/** Takes all names out, the oldest first. */
function drain(oldest: OldestNames): ChunkName[] {
  const held: ChunkName[] = [];
  for (let name = oldest.find(any); name !== null; name = oldest.find(any)) {
    const last = held.at(-1);
    assert(last === undefined || textOf(last) < textOf(name), "forgotten, and in order");
    held.push(name);
    oldest.forget(name);
  }
  return held;
}

Deno.test("of names in any order the oldest are held unchanged, as many plain ones as requested", () => {
  const cases = [[100, 5000, 0], [1000, 3000, 0], [2000, 2000, 0], [700, 2000, 0.2], [
    700,
    2000,
    1,
  ]];
  for (const [count = 0, offered = 0, provisional = 0] of cases) {
    const makeName = nameMaker(seededRandom(count), 1e9, provisional);
    const names = Array.from({ length: offered }, makeName);
    const oldest = new OldestNames(count);
    for (const name of names) oldest.offer(name);
    assertEquals(oldest.isComplete, count === offered);
    const held = drain(oldest);
    // Provisional names need 56 bytes each instead of 32, and those beside them do, too.
    assertEquals(held.length, provisional === 0 ? count : Math.floor(count * 32 / 56));
    assertEquals(held, sorted(names).slice(0, held.length));
  }
});

Deno.test("the held names are always the oldest of a sorted list, whatever comes and goes", () => {
  for (let seed = 1; seed <= 9; seed++) {
    const random = seededRandom(seed);
    // Few different starts: many are equal.
    const makeName = nameMaker(random, [5, 50, 1e6][seed % 3] ?? 5);
    const oldest = new OldestNames([3, 40, 1e6][Math.floor(seed / 3) % 3] ?? 3);
    const model: ChunkName[] = [];
    for (let step = 0; step < 80; step++) {
      const dice = random();
      if (dice < 0.5) {
        for (let more = random() * 12; more > 0; more--) {
          const name = makeName();
          oldest.offer(name);
          insert(model, name);
        }
      } else if (model.length > 0) {
        const at = dice < 0.8 ? 0 : Math.floor(random() * model.length);
        const [name = makeName()] = model.splice(at, 1);
        oldest.forget(name);
        oldest.forget(name); // the second call changes nothing
      }
      if (step % 8 !== 0) {
        const first = oldest.find(any);
        if (first !== null) assertEquals(first, model[0]);
        continue;
      }
      const held = oldest.inOrder().toArray();
      const names = held.map(formatChunkName).join("\n");
      const expected = model.slice(0, held.length).map(textOf).join("\n");
      assert(names === expected, `seed ${seed}, step ${step}`);
      if (oldest.isComplete) assertEquals(held.length, model.length);
      const wanted = model[Math.floor(random() * Math.min(model.length, 90))];
      const isHeld = held.some((name) => name === wanted || name.key === wanted?.key);
      const isWanted = (name: ChunkName) => name.key === wanted?.key;
      assertEquals(oldest.find(isWanted), isHeld && wanted !== undefined ? wanted : null);
      if (wanted !== undefined) {
        assertEquals(oldest.findKey(wanted.key), isHeld ? wanted : null);
        const behind = held.slice(model.indexOf(wanted) + 1);
        const found = [...oldest.inOrder(wanted)];
        assertEquals(found.map(formatChunkName), behind.map(formatChunkName));
      }
    }
  }
});

Deno.test("among thousands of names each is found and forgotten, whether they came in order or not", () => {
  const random = seededRandom(3);
  const names = sorted(Array.from({ length: 7000 }, nameMaker(random, 1e9)));
  for (const order of [names, names.toReversed(), names.toSorted(() => random() - 0.5)]) {
    const oldest = new OldestNames(20_000);
    for (const name of order) oldest.offer(name);
    for (const name of order.slice(0, 100)) oldest.offer(name); // held already
    for (const [index, name] of names.entries()) {
      if (index % 500 !== 3) continue;
      assertEquals(oldest.findKey(name.key), name);
      assertEquals(oldest.inOrder(name).next().value, names[index + 1]);
      oldest.forget(name);
      assertEquals(oldest.findKey(name.key), null);
      assertEquals(oldest.inOrder(name).next().value, names[index + 1]);
    }
    const left = names.filter((_, index) => index % 500 !== 3);
    assertEquals(oldest.inOrder().map(textOf).toArray(), left.map(textOf));
    assertEquals(drain(oldest), left);
    for (const name of names) oldest.offer(name);
    for (const name of order) oldest.forget(name);
    assertEquals(oldest.find(any), null);
  }
});

Deno.test("a name after the held ones is not held, even when these are gone: others are between them", () => {
  const at = (minute: number) => ({
    startUnixUs: START_US + minute * 60e6,
    durationUs: 60e6,
    key: crypto.randomUUID(),
  });
  const [a, b, b2, c, d, e] = [1, 2, 2.5, 3, 4, 5].map(at);
  assert(a && b && b2 && c && d && e);
  const oldest = new OldestNames(2);
  for (const name of [d, c, b, a]) oldest.offer(name);
  oldest.forget(a);
  oldest.forget(b);
  oldest.offer(e);
  assertEquals(oldest.find(any), null);
  assertEquals(oldest.isComplete, false);
  oldest.offer(b2);
  assertEquals(oldest.find(any), b2);
});

Deno.test("of names that start in the same microsecond, all or none are held", () => {
  const names = Array.from({ length: 50 }, () => ({
    startUnixUs: START_US,
    durationUs: 60e6,
    key: crypto.randomUUID(),
  }));
  const oldest = new OldestNames(10);
  for (const name of names) oldest.offer(name);
  assertEquals(oldest.isComplete, true);
  assertEquals(drain(oldest), sorted(names));
  const before = { ...names[0] ?? { durationUs: 1, key: "" }, startUnixUs: START_US - 1 };
  for (const name of names) oldest.offer(name);
  for (let count = 0; count < 200; count++) {
    oldest.offer({ ...before, key: crypto.randomUUID() });
  }
  assertEquals(oldest.isComplete, false);
  assert(drain(oldest).every(({ startUnixUs }) => startUnixUs < START_US));
});

Deno.test("an older name that comes later is found first", () => {
  const makeName = nameMaker(seededRandom(7), 1e6);
  const [first, ...others] = sorted(Array.from({ length: 300 }, makeName));
  assert(first !== undefined);
  const oldest = new OldestNames(1000);
  for (const name of others) oldest.offer(name);
  assertEquals(oldest.find(({ key }) => key === others[99]?.key), others[99]);
  oldest.offer(first);
  assertEquals(oldest.find(any), first);
  assertEquals(drain(oldest).length, 300);
});
