// The environment that the systemd unit gives the program, so that a benchmark measures what runs on a
// till: above all the settings of glibc's allocator.

const UNIT = new URL("../recorder-agent.service", import.meta.url);

/** The variables of the unit's `Environment=` lines. Values with spaces are not used there. */
export function unitEnvironment(): Record<string, string> {
  const lines = Deno.readTextFileSync(UNIT).matchAll(/^Environment=(.*)$/gm);
  const settings = [...lines].flatMap(([, line = ""]) => line.split(/\s+/));
  return Object.fromEntries(settings.map((setting) => {
    const [name = "", value = ""] = setting.split("=");
    return [name, value];
  }));
}
