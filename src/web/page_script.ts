// The script of the status page, in JavaScript of 2009 (ES5) for old browsers. It inserts the parts that
// the server has rendered, moves the meter, and shows a message when the recorder does not answer.

/** Runs at the end of the page. Without it the page is complete, but does not update. */
export const PAGE_SCRIPT = `
(function () {
  'use strict';
  var LOWEST = -60, WIDTH = 240, LEVEL_MS = 100, SILENCE_MS = 5000, AGAIN_MS = 2000;
  var root = document.documentElement;
  var byId = function (id) { return document.getElementById(id); };
  var meter = byId('meter'), fill = byId('fill'), hold = byId('hold'), dbfs = byId('dbfs');
  var link = byId('link'), lost = byId('lost');
  var program = root.getAttribute('data-program');
  var source = null, heardMs = 0, queue = [], held = LOWEST, isLost = false, turn = 0, idle = 0, level = null;

  if (!window.EventSource || !window.JSON) {
    window.setTimeout(function () { window.location.reload(); }, 10000);
    return;
  }

  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function alive() {
    heardMs = new Date().getTime();
    if (!isLost && link.className === 'live') return;
    isLost = false;
    root.className = '';
    say(lost, '');
    link.className = 'live';
    say(link, 'live');
  }

  function silent() {
    if (isLost) return;
    isLost = true;
    queue = [];
    level = null;
    root.className = 'lost';
    link.className = '';
    say(link, 'not live');
    say(lost, 'The recorder does not answer. Trying again\\u2026 The page shows the state at ' +
      byId('clock').textContent + '.');
  }

  function connect() {
    if (source) source.close();
    source = new EventSource('events');
    source.addEventListener('hello', function (event) {
      if (event.data !== program) window.location.reload();
      else alive();
    });
    source.addEventListener('parts', function (event) {
      var parts = JSON.parse(event.data), id, element;
      alive();
      for (id in parts) {
        element = byId(id);
        if (id === 'title') document.title = parts[id];
        else if (element) element.innerHTML = parts[id];
      }
    });
    source.addEventListener('levels', function (event) {
      alive();
      queue = queue.concat(JSON.parse(event.data)).slice(-10);
    });
    source.onerror = function () {
      silent();
      if (source.readyState === 2) window.setTimeout(connect, AGAIN_MS);
    };
  }

  function show() {
    var shown;
    window.setTimeout(show, LEVEL_MS);
    if (new Date().getTime() - heardMs > SILENCE_MS && !isLost && heardMs > 0) {
      silent();
      connect();
    }
    if (queue.length > 4) queue.shift();
    idle = queue.length > 0 ? 0 : idle + 1;
    level = idle === 0 ? queue.shift() : idle > 15 ? null : level;
    shown = level === null ? LOWEST : Math.max(LOWEST, Math.min(0, level));
    held = Math.max(shown, held - 1.2);
    fill.setAttribute('width', String(Math.round((1 - shown / LOWEST) * WIDTH)));
    hold.setAttribute('x', held <= LOWEST ? '-4' : String(Math.round((1 - held / LOWEST) * WIDTH) - 3));
    if (turn++ % 5 === 0) {
      say(dbfs, level === null ? '\\u2013' : level.toFixed(1).replace('-', '\\u2212'));
      meter.setAttribute('aria-valuenow', String(Math.round(shown)));
      meter.setAttribute('aria-valuetext', level === null ? 'no sound' : Math.round(level) + ' dBFS');
    }
  }

  window.addEventListener('pagehide', function () { if (source) source.close(); });
  window.addEventListener('pageshow', function (event) { if (event.persisted) connect(); });
  show();
  connect();
})();
`;
