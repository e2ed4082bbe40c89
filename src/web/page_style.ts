// The style sheet of the status page: light and dark, for widths from 320 px. It reserves space for
// elements that appear and disappear, so that the rest of the page does not move.

/** The contents of the page's style element. */
export const PAGE_STYLE = `
:root{--ground:#eef0ef;--panel:#fff;--ink:#17201e;--soft:#5b6764;--line:#d5dad8;--dim:#dfe4e2;
--good:#1d7a63;--good-soft:#8cc3b3;--warn:#b45f06;--bad:#b3261e;--loud:#c48a00;--plan:#c9d3d0}
@media (prefers-color-scheme:dark){:root{--ground:#101514;--panel:#19201e;--ink:#e6ecea;--soft:#9aa8a4;
--line:#2b3532;--dim:#2a3431;--good:#4cc3a2;--good-soft:#2c6f5e;--warn:#f0a03c;--bad:#ff7b6e;
--loud:#e2b33c;--plan:#3b4a46}}
*{box-sizing:border-box}
html{background:#eef0ef;background:var(--ground);color:#17201e;color:var(--ink);
font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;
-webkit-text-size-adjust:100%;overflow-y:scroll}
body{margin:0 auto;max-width:1120px;padding:0 16px 24px}
h1,h2,h3,p,ul,dl,dd{margin:0;padding:0}
a{color:inherit}
a:focus{outline:2px solid var(--good);outline-offset:2px}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 18px;padding:16px 2px 12px;color:var(--soft)}
h1{font-size:1rem;font-weight:650;color:var(--ink);letter-spacing:.01em}
.till{font-size:.875rem}
.till b{font-weight:500;font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.95em}
.link{margin-left:auto;font-size:.875rem;font-variant-numeric:tabular-nums;white-space:nowrap}
#link{display:inline-block;width:5.6em;text-align:right}
#link.live{color:var(--good)}
#link.live:before{content:"\\25CF\\A0"}
main{display:grid;grid-template-columns:minmax(0,1fr);gap:14px}
.now,.panel{background:#fff;background:var(--panel);border:1px solid var(--line);border-radius:10px}
.now{display:flex;gap:16px;align-items:flex-start;padding:18px 20px;min-height:7.5rem}
.lamp{flex:none;fill:var(--soft)}
.lamp .cut{fill:var(--panel)}
.lamp.recording,.lamp.starting{fill:var(--good)}
.lamp.trouble{fill:var(--warn)}
.lamp.failure{fill:var(--bad)}
.headline{font-size:1.5rem;line-height:1.25;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere;padding-top:3px}
.detail{color:var(--soft);margin-top:4px;overflow-wrap:anywhere}
.panel{padding:14px 20px 16px}
h2{font-size:.8125rem;font-weight:650;letter-spacing:.06em;text-transform:uppercase;color:var(--soft);margin-bottom:12px}
h2 small{font-size:1em;font-weight:400;letter-spacing:0;text-transform:none;margin-left:6px}
.meter{display:flex;align-items:center;gap:8px}
.meter svg{display:block;flex:1 1 auto;min-width:0;width:100%;height:18px}
.meter output{flex:none;width:3.6em;text-align:right;font-size:1.25rem;font-weight:600;line-height:1;font-variant-numeric:tabular-nums}
.meter .unit{flex:none;width:5em;color:var(--soft);font-size:.8125rem}
.dim{fill:var(--dim)}
.lit.calm{fill:var(--good)}
.lit.loud{fill:var(--loud)}
.lit.clip{fill:var(--bad)}
#hold{fill:var(--ink)}
.scale{display:flex;justify-content:space-between;color:var(--soft);font-size:.75rem;font-variant-numeric:tabular-nums;padding-top:4px}
.meter+.scale{margin-right:calc(8.5625rem + 16px)}
.wavebox{height:120px;margin-top:14px;border:solid var(--line);border-width:1px 0;background:linear-gradient(var(--line),var(--line)) 0 50%/100% 1px no-repeat}
.wave{display:block;width:100%;height:118px}
.wave-peak{fill:var(--good-soft)}
.wave-rms{fill:var(--good)}
.small,.sum{color:var(--soft);font-size:.875rem;margin-top:8px;min-height:1.45em}
.sum b{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}
.day{display:block;overflow:visible}
.recorded{fill:var(--good)}
.missing{fill:url(#hatch);stroke:var(--bad);stroke-width:1}
.hatch-ground{fill:var(--panel)}
.hatch-line{fill:var(--bad)}
.planned{fill:var(--plan)}
.unasked{fill:var(--line)}
.day .now{stroke:var(--ink);stroke-width:2}
.hour{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;color:var(--soft);font-size:.8125rem;margin-top:10px}
.legend svg{vertical-align:-2px;margin-right:6px}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip:rect(0 0 0 0);white-space:nowrap}
dl div{display:flex;justify-content:space-between;gap:12px;padding:7px 0;border-top:1px solid var(--line);min-height:3.35rem}
dl div:first-child{border-top:0}
dt{color:var(--soft);white-space:nowrap}
dd{text-align:right;font-weight:600;font-variant-numeric:tabular-nums}
dd small{display:block;font-weight:400;font-size:.8125rem;color:var(--soft)}
.gauge{display:block;width:100%;height:8px;border-radius:4px;margin-bottom:6px}
.gauge .lit{fill:var(--good)}
.list{min-height:6rem}
.gaps-head{font-size:.9375rem;margin:16px 0 6px}
.gaps{min-height:9.6rem}
.list ul{list-style:none}
.list li{padding:8px 0;border-top:1px solid var(--line)}
.list li:first-child{border-top:0;padding-top:0}
h3{font-size:1rem;font-weight:650}
h3 small{font-weight:400;font-size:.8125rem;color:var(--soft);white-space:nowrap}
h3 .lamp{vertical-align:-2px}
.list li p{overflow-wrap:anywhere;font-size:.9375rem}
.past,.none{color:var(--soft)}
table{width:100%;border-collapse:collapse;font-size:.9375rem;font-variant-numeric:tabular-nums}
th{font-weight:400;font-size:.8125rem;color:var(--soft);text-align:left;padding:0 8px 4px 0}
td{padding:5px 8px 5px 0;border-top:1px solid var(--line);vertical-align:top}
footer{padding:16px 2px 48px;color:var(--soft);font-size:.8125rem}
#lost{position:fixed;left:0;right:0;bottom:0;padding:14px 20px;background:#b3261e;color:#fff;text-align:center;font-weight:600;visibility:hidden}
.lost #lost{visibility:visible}
.lost main{opacity:.45}
@media (max-width:519px){.minor{display:none}.now{padding:16px;min-height:11rem}.panel{padding:14px 16px}
.headline{font-size:1.25rem}.till span{display:none}.meter .unit{display:none}
.meter+.scale{margin-right:calc(4.5rem + 8px)}}
@media (min-width:860px){main{grid-template-columns:minmax(0,2fr) minmax(0,1fr)}.now,.problems{grid-column:1/-1}.sound{grid-row:2}.today{grid-row:3}.sound,.today{grid-column:1}.delivery,.storage{grid-column:2}}
@media (prefers-contrast:more){:root{--soft:var(--ink);--line:var(--soft)}}
@media print{#lost{display:none}}
`;
