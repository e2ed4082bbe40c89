import { assertEquals, assertStringIncludes } from "@std/assert";
import { checkServer } from "../../src/commands/check_server.ts";
import { loadConfig } from "../../src/config/config.ts";

const ID = "11111111-1111-1111-1111-111111111111";

Deno.test("an http:// server beyond this machine gets nothing: neither the token nor a connection", async () => {
  const config = loadConfig({
    path: null,
    env: {
      RA_POINT_ID: ID,
      RA_REGISTER_ID: ID,
      RA_DEVICE_ID: ID,
      RA_INGEST_BASE_URL: "http://ingest.example.com",
      RA_INGEST_TOKEN: "s3cret-token",
    },
  });
  const [first, ...others] = await checkServer(config, true);
  assertEquals([first?.name, first?.verdict], ["tls", "failed"]);
  assertStringIncludes(first?.message ?? "", "nothing is sent");
  assertStringIncludes(first?.fix ?? "", "allow_insecure_http: true");
  assertEquals(others.map(({ name }) => name), ["api", "token", "size", "test chunk"]);
  assertEquals(new Set(others.map(({ verdict }) => verdict)), new Set(["skipped"]));
});
