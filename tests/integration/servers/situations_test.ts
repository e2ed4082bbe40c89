// The short situations of tests/servers: the real program behind a real nginx and a real squid. The whole
// matrix, with HAProxy, Apache and endpoints of five frameworks, is `deno task test:servers`.

import { Bed } from "../../servers/bed.ts";
import { CHECKS } from "../../servers/checks.ts";
import { SITUATIONS } from "../../servers/situations.ts";

for (const { server, name, run } of [...SITUATIONS, ...CHECKS].filter(({ isShort }) => isShort)) {
  Deno.test(`behind ${server}: ${name}`, async () => {
    await using bed = await Bed.start("strict");
    await run(bed);
  });
}
