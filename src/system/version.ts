// What this program calls itself. The version is written down once, in deno.json; the commit by
// `deno task release`, in the copy of the source that it compiles.

import manifest from "../../deno.json" with { type: "json" };
import build from "./commit.json" with { type: "json" };

export const VERSION: string = manifest.version;
/** Of a release: the commit it was made from. Null in a checkout, which may hold anything. */
export const COMMIT: string | null = build.commit;
