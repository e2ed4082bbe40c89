// What `amixer contents` prints for sound cards of many kinds, and which controls are those of the microphone. A new
// device is one row.

import { assertEquals } from "@std/assert";
import {
  captureControls,
  describeControl,
  type MixerControl,
  parseMixer,
  valuesAt,
} from "../../src/microphone/mixer_listing.ts";
import { HOSTILE, isHarmless } from "../fixtures/hostile_text.ts";

/** One control as amixer prints it: id, type with access, values, and what is known of its decibels. */
function control(name: string, type: string, values: string, tlv = ""): string {
  return `numid=${
    name.length * 7
  },iface=MIXER,name='${name}'\n  ; type=${type}\n  : values=${values}\n` +
    (tlv === "" ? "" : `  | ${tlv}\n`);
}

const SWITCH = "BOOLEAN,access=rw------,values=1";
const SPEAKER = control(
  "Speaker Playback Volume",
  "INTEGER,access=rw---R--,values=2,min=0,max=37,step=0",
  "20,20",
  "dBminmax-min=-37.00dB,max=0.00dB",
);
const CHANNEL_MAP = "numid=1,iface=PCM,name='Capture Channel Map'\n" +
  "  ; type=INTEGER,access=r--v-R--,values=1,min=0,max=36,step=0\n  : values=0\n" +
  "  | container\n    | chmap-fixed=MONO\n";

interface Row {
  readonly machine: string;
  readonly text: string;
  readonly volume: readonly string[];
  readonly switches?: readonly string[];
  readonly agc?: readonly string[];
}

const ROWS: readonly Row[] = [
  {
    machine: "USB PnP Sound Device (0d8c:0014)",
    text: control("Mic Playback Switch", SWITCH, "off") +
      control(
        "Mic Playback Volume",
        "INTEGER,access=rw---R--,values=1,min=0,max=31,step=0",
        "16",
        "dBminmax-min=-23.00dB,max=8.00dB",
      ) + SPEAKER + control("Mic Capture Switch", SWITCH, "on") +
      control(
        "Mic Capture Volume",
        "INTEGER,access=rw---R--,values=1,min=0,max=35,step=0",
        "22",
        "dBminmax-min=-12.00dB,max=23.00dB",
      ) + control("Auto Gain Control", SWITCH, "on") + CHANNEL_MAP,
    volume: ["Mic Capture Volume 63 % (-12 to 23 dB)"],
    switches: ["Mic Capture Switch on"],
    agc: ["Auto Gain Control on"],
  },
  {
    machine: "ATR4697-USB, a microphone alone",
    text: CHANNEL_MAP + control("Mic Capture Switch", SWITCH, "off") +
      control("Mic Capture Volume", "INTEGER,access=rw---R--,values=1,min=0,max=16,step=0", "0") +
      control("Auto Gain Control", SWITCH, "off"),
    volume: ["Mic Capture Volume 0 %"],
    switches: ["Mic Capture Switch off"],
    agc: ["Auto Gain Control off"],
  },
  {
    machine: "a microphone with a range of 257 steps, and a control of its card",
    text: "numid=4,iface=CARD,name='Keep Interface'\n  ; type=BOOLEAN,access=rw------,values=1\n" +
      "  : values=off\n" + control("Mic Capture Switch", SWITCH, "on") +
      control(
        "Mic Capture Volume",
        "INTEGER,access=rw---R--,values=1,min=0,max=256,step=0",
        "61",
        "dBminmax-min=-95.00dB,max=0.00dB",
      ),
    volume: ["Mic Capture Volume 24 % (-95 to 0 dB)"],
    switches: ["Mic Capture Switch on"],
  },
  {
    machine: "UMC204HD: a stereo control and a master of the same name",
    text:
      "numid=3,iface=MIXER,name='Mic Capture Switch'\n  ; type=BOOLEAN,access=rw------,values=2\n" +
      "  : values=on,on\nnumid=4,iface=MIXER,name='Mic Capture Switch',index=1\n  ; type=BOOLEAN," +
      "access=rw------,values=1\n  : values=on\nnumid=5,iface=MIXER,name='Mic Capture Volume'\n" +
      "  ; type=INTEGER,access=rw---R--,values=2,min=0,max=127,step=0\n  : values=127,100\n" +
      "  | dBminmax-min=-127.00dB,max=0.00dB\nnumid=6,iface=MIXER,name='Mic Capture Volume',index=1\n" +
      "  ; type=INTEGER,access=rw---R--,values=1,min=0,max=127,step=0\n  : values=127\n",
    volume: ["Mic Capture Volume 89 % (-127 to 0 dB)", "Mic Capture Volume 100 %"],
    switches: ["Mic Capture Switch on", "Mic Capture Switch on"],
  },
  {
    machine: "an array of six channels (XVF3800)",
    text: control(
      "Headset Capture Switch",
      "BOOLEAN,access=rw------,values=6",
      "on,on,off,off,off,off",
    ) +
      control(
        "Headset Capture Volume",
        "INTEGER,access=rw---R--,values=6,min=0,max=60,step=0",
        "60,60,0,0,0,0",
        "dBminmax-min=-60.00dB,max=0.00dB",
      ) +
      control(
        "PCM Playback Volume",
        "INTEGER,access=rw---R--,values=2,min=0,max=60,step=0",
        "60,60",
      ),
    volume: ["Headset Capture Volume 33 % (-60 to 0 dB)"],
    switches: ["Headset Capture Switch off"],
  },
  {
    machine: "an interface with line, microphone and analog inputs",
    text: ["Line", "Mic", "Analog In"].map((source) =>
      control(`${source} Capture Switch`, SWITCH, source === "Line" ? "on" : "off") +
      control(
        `${source} Capture Volume`,
        "INTEGER,access=rw---R--,values=2,min=0,max=39,step=0",
        "39,35",
        "dBminmax-min=-17.25dB,max=12.00dB",
      )
    ).join(""),
    volume: ["Mic Capture Volume 95 % (-17.25 to 12 dB)"],
    switches: ["Mic Capture Switch off"],
  },
  ...[["Line", "PCM"], ["Line"]].map((sources): Row => ({
    machine: `an adapter with the inputs ${sources.join(" and ")}`,
    text: sources.map((source) =>
      control(
        `${source} Capture Volume`,
        "INTEGER,access=rw------,values=1,min=0,max=4,step=0",
        "1",
      )
    ).join(""),
    volume: [`${sources.at(-1)} Capture Volume 25 %`],
  })),
  {
    machine: "a HAT with the codec WM8960",
    text: control(
      "Left Input Boost Mixer LINPUT1 Volume",
      "INTEGER,access=rw---R--,values=1,min=0,max=3,step=0",
      "3",
    ) +
      "  | dBrange-\n    rangemin=0,,rangemax=1\n      | dBscale-min=0.00dB,step=13.00dB,mute=0\n" +
      control(
        "ADC PCM Capture Volume",
        "INTEGER,access=rw---R--,values=2,min=0,max=255,step=0",
        "195,195",
        "dBscale-min=-97.50dB,step=0.50dB,mute=0",
      ) + control("Capture Switch", "BOOLEAN,access=rw------,values=2", "on,on") +
      control(
        "Capture Volume",
        "INTEGER,access=rw---R--,values=2,min=0,max=63,step=0",
        "39,39",
        "dBscale-min=-17.25dB,step=0.75dB,mute=0",
      ) + control("ALC Function", "ENUMERATED,access=rw------,values=1,items=4", "0"),
    volume: ["Capture Volume 62 % (-17.25 to 30 dB)"],
    switches: ["Capture Switch on"],
  },
  {
    machine: "an HDA codec whose microphone has a boost",
    text:
      control("Mic Boost Volume", "INTEGER,access=rw---R--,values=2,min=0,max=4,step=0", "0,0") +
      control(
        "Mic Capture Volume",
        "INTEGER,access=rw---R--,values=2,min=0,max=80,step=0",
        "0,0",
        "dBscale-min=-74.00dB,step=1.00dB,mute=0",
      ) +
      control(
        "Master Playback Volume",
        "INTEGER,access=rw---R--,values=1,min=0,max=74,step=0",
        "54",
      ),
    volume: ["Mic Capture Volume 0 % (-74 to 6 dB)"],
  },
  { machine: "an array that has no controls (ReSpeaker 4)", text: CHANNEL_MAP, volume: [] },
  { machine: "an I2S microphone whose driver has none at all", text: "", volume: [] },
  {
    machine: "a speaker that cannot capture",
    text: SPEAKER + control("Speaker Playback Switch", SWITCH, "on"),
    volume: [],
  },
  {
    machine: "a control that may be read only",
    text: control(
      "Mic Capture Volume",
      "INTEGER,access=r----R--,values=1,min=0,max=36,step=0",
      "2",
    ),
    volume: [],
  },
  {
    machine: "a range without a length, and values that are no numbers",
    text:
      control("Mic Capture Volume", "INTEGER,access=rw------,values=1,min=5,max=5,step=0", "5") +
      control("Headset Capture Volume", "INTEGER,access=rw------,values=1,min=0,max=9,step=0", "x"),
    volume: [],
  },
];

for (const { machine, text, volume, switches = [], agc = [] } of ROWS) {
  Deno.test(`the capture controls of ${machine} are found`, () => {
    const found = captureControls(parseMixer(text));
    assertEquals(
      [found.volume, found.switches, found.agc].map((some) => some.map(describeControl)),
      [volume, switches, agc].map((some) => [...some]),
    );
  });
}

Deno.test("a hostile name of a control is printable, and nothing that it contains is read as a control", () => {
  const [found, ...others] = parseMixer(
    control(
      `${HOSTILE} Capture Volume`.replaceAll("\n", ""),
      "INTEGER,access=rw------,values=1,min=0,max=9,step=0",
      "4",
    ),
  );
  assertEquals(others, []);
  assertEquals(found?.name.endsWith("Capture Volume") && isHarmless(found.name), true);
  const forged = parseMixer(
    "numid=1,iface=MIXER,name='x\nnumid=2,iface=MIXER,name='Mic Capture Volume'\n",
  );
  assertEquals(forged, [], "a control without a type is not one");
});

Deno.test("a percentage is a value on the control's own range, for all of its channels", () => {
  const range = (min: number, max: number, ...values: number[]): MixerControl => ({
    ...{ numid: 1, name: "Mic Capture Volume", index: 0, kind: "volume", decibels: null },
    ...{ min, max, values },
  });
  assertEquals(valuesAt(range(0, 35, 22), 80), [28]);
  assertEquals(valuesAt(range(-127, 0, 0, 0), 50), [-63, -63]);
  assertEquals([0, 100].map((percent) => valuesAt(range(3, 7, 5), percent)), [[3], [7]]);
});
