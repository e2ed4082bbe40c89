// `deno task release` on a copy of the source, for the architecture of this machine: its output, and that
// the output is reproducible.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import manifest from "../../deno.json" with { type: "json" };
import { run } from "../fixtures/command.ts";
import { Document } from "../fixtures/documents.ts";
import { makeReleaseSource } from "../fixtures/release.ts";

const TARGET = "x86_64-unknown-linux-gnu";

Deno.test("a release is made from a commit, names it, can be verified, and is reproducible", async () => {
  const dir = await Deno.makeTempDir({ prefix: "release-test-" });
  try {
    const { source, key, runtimes, release } = await makeReleaseSource(dir, "x64");
    const git = await run("git", ["-C", source, "rev-parse", "HEAD"]);
    const commit = new TextDecoder().decode(git.stdout).slice(0, 12);
    await release();
    const dist = join(source, "dist");
    const name = `recorder-agent-${manifest.version}-x86_64`;
    const sums = await Deno.readTextFile(join(dist, "SHA256SUMS"));
    assertEquals(sums.trim().split("\n").map((line) => line.split("  ")[1]), [
      name,
      `${name}.tar.gz`,
      `recorder-agent_${manifest.version}_amd64.deb`,
    ]);
    const page = await Deno.readTextFile(join(source, "docs/how-to/verify-a-release.md"));
    const [, commands = ""] = /```sh\n([^]*?)```/.exec(page) ?? [];
    assertStringIncludes(commands, "ssh-keygen -Y verify");
    const verify = `cd ${source} && ${commands}`;
    await run("sh", ["-c", verify]);
    for (const file of ["SHA256SUMS", name]) {
      const path = join(dist, file);
      const spoil =
        `cp ${path} ${dir}/kept; echo >> ${path}; (${verify}) && exit 9; mv ${dir}/kept ${path}`;
      await run("sh", ["-c", spoil]);
    }
    const { stdout } = await run("tar", ["-tzf", join(dist, `${name}.tar.gz`)]);
    const entries = new TextDecoder().decode(stdout).trim().split("\n");
    assert(entries.includes(`${name}/docs/reference/problems.md`));
    const documents = entries.filter((entry) => entry.endsWith(".md"))
      .map((entry) => new Document(entry.slice(name.length + 1)));
    assertEquals(
      documents.flatMap((document) =>
        document.links().filter((link) => !link.startsWith("#"))
          .map((link) => join(document.path, "..", link.split("#")[0] ?? ""))
          .filter((path) => ![path, `${path}/`].some((file) => entries.includes(`${name}/${file}`)))
      ).filter((path) => path !== ".ci/release_signers"),
      [],
      "what the documents of a release name is in it, but for those who may sign it",
    );
    const isAbout = (entry: string) => /^[^/]+\/(docs|packaging)\//.test(entry);
    assertEquals(entries.filter((entry) => !isAbout(entry)), [
      `${name}/`,
      ...[
        ...[
          ".env.example",
          "CHANGELOG.md",
          "CONTRIBUTING.md",
          "LICENSE",
          "README.md",
          "SECURITY.md",
        ],
        ...["config.yaml.example", "recorder-agent", "recorder-agent.service"],
      ].map((file) => `${name}/${file}`),
    ]);
    const version = await run(join(dist, name), ["--version"]);
    assertMatch(
      new TextDecoder().decode(version.stdout),
      new RegExp(
        `^recorder-agent ${manifest.version} \\(commit ${commit}, deno 2\\S+, ${TARGET}\\)`,
      ),
    );

    // In another folder, by another user's cache, at another time, without a key.
    const clone = join(dir, "elsewhere/clone");
    await run("git", ["clone", "--quiet", source, clone]);
    await release(clone, { DENO_DIR: join(dir, "cache"), RELEASE_KEY: "", TZ: "Asia/Tokyo" });
    assertEquals(await Deno.readTextFile(join(clone, "dist/SHA256SUMS")), sums);
    assertEquals(
      [...Deno.readDirSync(join(clone, "dist"))].length,
      4,
      "no signature without a key",
    );

    const stranger = join(dir, "stranger");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", stranger]);
    const unsigned = await release(clone, { RELEASE_KEY: stranger }).then(() => "", String);
    assertMatch(unsigned, /key of RELEASE_KEY must be in \.ci\/release_signers/);

    // A runtime that nobody has compared is in no release, and one of the tests in no signed release.
    const inClone = (...args: string[]) =>
      run("git", ["-C", clone, "-c", "user.name=t", "-c", "user.email=t@localhost", ...args]);
    const cases = [
      ["# none", "", /must be one of \.ci\/runtimes.*\n {2}[0-9a-f]{64}\n[^]*commit this line/],
      [runtimes, key, /Cannot sign a release as its runtime must be Deno's own/],
    ] as const;
    for (const [text, RELEASE_KEY, message] of cases) {
      await Deno.writeTextFile(join(clone, ".ci/runtimes"), text);
      await inClone("commit", "--quiet", "--all", "--message", "other runtimes");
      assertMatch(await release(clone, { RELEASE_KEY }).then(() => "", String), message);
    }

    await Deno.writeTextFile(join(source, "README.md"), "changed");
    const refused = await release().then(() => "", (error) => String(error));
    assertMatch(refused, /working tree has changes/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
