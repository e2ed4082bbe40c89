// The version of this program. The number is in deno.json only. `deno task release` writes the commit into
// the copy of the source that it compiles.

import manifest from "../../deno.json" with { type: "json" };
import build from "./commit.json" with { type: "json" };

export const VERSION: string = manifest.version;
/** The commit that a release was built from. Null in a checkout, which may have been modified. */
export const COMMIT: string | null = build.commit;
