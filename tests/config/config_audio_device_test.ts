// The values that the configuration accepts for audio_device.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ConfigError, loadConfig } from "../../src/config/config.ts";

const ID = "11111111-1111-4111-8111-111111111111";
const REST = `point_id: ${ID}
register_id: ${ID}
device_id: ${ID}
ingest_base_url: https://ingest.example.com
ingest_token: token
`;

function load(line: string): string | null {
  const options = { path: "c.yaml", env: {}, readTextFile: () => `${REST}${line}\n` };
  return loadConfig(options).audioDevice;
}

Deno.test("audio_device can be a socket, a make, a name or an ALSA PCM", () => {
  for (
    const value of [
      "usb:1-1.2",
      "usb:0D8C:0014",
      "usb:0d8c:0014:A B",
      "name:USB PnP",
      "plughw:CARD=Mic,DEV=0",
      "usbmic",
    ]
  ) assertEquals(load(`audio_device: ${JSON.stringify(value)}`), value);
  assertEquals(load("audio_device: usb:1-1.2"), "usb:1-1.2", "as YAML without quotes");
});

Deno.test("an invalid audio_device is refused with its place and what is accepted", () => {
  for (const value of ["usb:zz", "usb:", "usb:1-", "usb:0d8c", "name: "]) {
    const { problems } = assertThrows(() => load(`audio_device: "${value}"`), ConfigError);
    assertEquals(problems.length, 1);
    assertMatch(
      problems[0] ?? "",
      /^c\.yaml:6:15: audio_device: "(usb|name):.*" names no microphone: expected usb:PATH .*"recorder-agent devices" lists/,
    );
  }
});

Deno.test("an audio_device cannot make ALSA start a program, write a file or connect to a socket", () => {
  for (
    const value of [
      "tee:null,'|id > /tmp/x',raw",
      'tee:null,"\\174id > /tmp/x",raw',
      "plug:{SLAVE {type file slave.pcm null file x format raw}}",
      "{type file slave.pcm null file x format raw}",
      "tee:null,x,raw",
      "pcm.tee:null,x,raw",
      "plug:'tee:null,x,raw'",
      "plug:SLAVE='file:x,raw'",
      "shm:x,null",
      "oss:/dev/watchdog",
    ]
  ) {
    const { problems } = assertThrows(
      () => load(`audio_device: ${JSON.stringify(value)}`),
      ConfigError,
    );
    assertEquals(problems.length, 1, value);
    assertMatch(problems[0] ?? "", /could start a program or write a file/, value);
  }
  for (
    const value of [
      "default",
      "null",
      "hw:0",
      "plug:'hw:1,0'",
      'plug:SLAVE="dsnoop:CARD=Mic,DEV=0"',
      "pulse:alsa_input.usb-046d_C922-02.analog-stereo.monitor",
      "sysdefault:CARD=tee",
      "my_tee",
      "pulse:@DEFAULT_SOURCE@",
    ]
  ) assertEquals(load(`audio_device: ${JSON.stringify(value)}`), value);
});
