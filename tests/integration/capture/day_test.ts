// The day of fixtures/simulated_day.ts in the length of a till's day.

import { checkDay } from "../../fixtures/simulated_day.ts";

Deno.test("a day of 14 h is recorded or declared missing, the microphone 100 ppm off", () => {
  checkDay(14, 100);
});
