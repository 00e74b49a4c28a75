/* tab.js: tangled from nbs/lab/39_browser.ipynb. Edit the notebook, not this file. */

/* ---- nbs/lab/39_browser.ipynb § Loading ---- */

'use strict';
const $ = id => document.getElementById(id);
const el = (tag, cls = '', text = '') =>
  Object.assign(document.createElement(tag), { className: cls, textContent: text });
const megabytes = n => (n / 1e6).toFixed(1) + ' MB', utf8 = new TextEncoder();

class Trouble extends Error { }       // something the reader should be told as it stands

const store = new Map();              // what this page has loaded: url -> bytes

/* The bytes of `file` ({ url, bytes }); tells `onBytes` how many came. */
async function load(file, onBytes, signal) {
  if (store.has(file.url)) { onBytes(file.bytes); return store.get(file.url); }
  let r;
  try { r = await fetch(file.url, { signal }); } catch { throw new Trouble(`${file.url} could not be loaded: is the network there?`); }
  if (!r.ok) throw new Trouble(`${file.url} could not be loaded: the server says ${r.status} ${r.statusText}`);
  const out = new Uint8Array(file.bytes), reader = r.body.getReader();
  let at = 0;
  for (;;) {
    const { value, done } = await reader.read().catch(() => { throw new Trouble(`${file.url}: the connection broke after ${megabytes(at)}`); });
    if (done) break;
    if (value.length > out.length - at) throw new Trouble(`${file.url} is longer than expected: the page and its files do not belong together`);
    out.set(value, at);
    at += value.length;
    onBytes(value.length);
  }
  if (at < out.length) throw new Trouble(`${file.url} ended after ${at} of ${out.length} bytes`);
  store.set(file.url, out.buffer);
  return out.buffer;
}

/* Everything a stage needs: { V86, wasm, elf, model }. */
async function loadAll(stage, progress) {
  if (typeof WebAssembly !== 'object')
    throw new Trouble('This browser has no WebAssembly (or it is switched off), and the machine is made of it. A current Firefox, Chrome, Edge or Safari will do.');
  const files = [stages.wasm, stage.elf, stage.model].filter(Boolean), total = files.reduce((n, f) => n + f.bytes, 0);
  const loading = new AbortController();                   // ended by the first file that fails
  let have = 0;
  const more = n => { if (!loading.signal.aborted) progress(have += n, total); };
  const { V86 } = await import('./' + stages.lib).catch(() => { throw new Trouble(`${stages.lib} could not be loaded`); });
  const loads = [stages.wasm, stage.elf, stage.model].map(f => f && load(f, more, loading.signal));
  const [wasm, elf, model] = await Promise.all(loads).catch(e => { loading.abort(); throw e; });
  return { V86, wasm, elf, model };
}

/* ---- nbs/lab/39_browser.ipynb § The machine ---- */

const ROUTER = '192.168.86.1', GUEST = '192.168.86.100', FRAMES_MAX = 400;

class Machine {
  /* on: { serial(bytes), end(reason) } */
  constructor({ V86, wasm, elf, model }, stage, on) {
    this.on = on;
    this.marks = {};                 // ms since power-on: when what happened
    this.frames = [];                // [ms, '>' to the guest or '<' from it, bytes]
    this.calls = new Set();          // requests under way, as functions that end them
    this.alive = true;
    this.begun = performance.now();
    this.emu = new V86({
      wasm_fn: imports => WebAssembly.instantiate(wasm, imports).then(w => w.instance.exports,
        e => { this.end('v86 does not run in this browser: ' + e.message); throw e; }),
      memory_size: stage.memory_mb << 20, vga_memory_size: 1 << 20,
      multiboot: { buffer: elf }, ...(model && { initrd: { buffer: model } }), cmdline: stage.cmdline,
      net_device: { type: 'virtio', relay_url: 'fetch', router_ip: ROUTER, vm_ip: GUEST },
      disable_keyboard: true, disable_mouse: true, disable_speaker: true });
    this.emu.add_listener('serial0-output-byte', b => on.serial(b));
    this.emu.add_listener('net0-send', frame => this.record('<', frame));
    this.emu.add_listener('emulator-loaded', () => this.start());
    this.broke = e => {
      if (/HALT$/.test(e.message)) this.end('the kernel has ended');
      else if (e.error instanceof WebAssembly.RuntimeError || /libv86/.test(e.filename)) this.end('v86 failed: ' + e.message);
    };
    addEventListener('error', this.broke);
  }
  start() {                          // v86 is compiled and the ELF in its memory
    if (!this.alive) return this.emu.destroy();
    this.mark('start');
    this.net = this.emu.network_adapter;
    const receive = this.net.receive;
    this.net.receive = frame => { this.record('>', frame); receive.call(this.net, frame); };
    this.emu.run();
  }
  mark(name) { this.marks[name] ??= performance.now() - this.begun; }
  record(way, frame) {
    this.frames.push([performance.now() - this.begun, way, Array.from(frame)]);
    if (this.frames.length > FRAMES_MAX) this.frames.shift();
  }
  type(text) { if (this.alive) this.emu.serial_send_bytes(0, utf8.encode(text)); }
  end(reason) {
    if (!this.alive) return;
    this.alive = false;
    removeEventListener('error', this.broke);
    for (const give_up of [...this.calls]) give_up(new Trouble('the machine is gone: ' + reason));
    this.emu?.destroy().catch(() => { });
    this.on.end(reason);
  }
}

/* ---- nbs/lab/39_browser.ipynb § The console ---- */

const SCROLLBACK = 200000;            // characters

class Terminal {
  constructor(pre) { this.pre = pre; this.clear(); }
  clear() {
    this.utf8 = new TextDecoder();
    this.all = '';                    // every finished line: what tests and watchers read
    this.fresh = '';                  // finished lines that are not on the page yet
    this.cells = []; this.col = 0;    // the line in progress
    this.done = new Text(); this.now = new Text();
    this.pre.replaceChildren(this.done, this.now);
  }
  /* One byte; returns the line that it finished, if any. */
  byte(b) {
    for (const c of this.utf8.decode(Uint8Array.of(b), { stream: true })) {
      this.wake();
      if (c === '\r') this.col = 0;
      else if (c === '\b') this.col = Math.max(0, this.col - 1);
      else if (c !== '\n') this.cells[this.col++] = c;
      else {
        const line = this.cells.join('');
        this.fresh += line + '\n'; this.all += line + '\n';
        this.cells = []; this.col = 0;
        return line;
      }
    }
  }
  get text() { return this.all + this.cells.join(''); }
  wake() {
    if (this.waiting) return;
    this.waiting = true;
    setTimeout(() => { this.waiting = false; this.show(); }, 16);
  }
  show() {
    const p = this.pre, low = p.scrollHeight - p.scrollTop - p.clientHeight < 40;
    this.done.appendData(this.fresh); this.fresh = '';
    if (this.done.length > SCROLLBACK) this.done.deleteData(0, this.done.length - SCROLLBACK);
    this.now.data = this.cells.join('');
    if (low) p.scrollTop = p.scrollHeight;
  }
}

/* What a key sends down a serial line; '' for keys that are not for it. Of the Ctrl keys only
 * those that chapter 23 knows: the others are the browser's. */
function keyBytes(e) {
  const third = e.getModifierState('AltGraph');          // it makes characters, and is Ctrl+Alt on some systems
  if (e.metaKey || e.altKey && !third) return '';
  if (e.ctrlKey && !third) return /^[cgul]$/i.test(e.key) ? String.fromCharCode(e.key.charCodeAt(0) & 31) : '';
  return { Enter: '\r', Backspace: '\x7f', Escape: '\x1b' }[e.key] ?? ([...e.key].length === 1 ? e.key : '');
}

/* ---- nbs/lab/39_browser.ipynb § The network in the page ---- */

const HEAD_MAX = 65536;

class Reply {
  /* onBody gets each piece of the body as it comes. */
  constructor(onBody = () => { }) {
    Object.assign(this, { onBody, rest: new Uint8Array(0), state: 'head', left: 0, headers: {}, text: '', utf8: new TextDecoder() });
  }
  get done() { return this.state === 'whole'; }
  push(bytes) {
    const joined = new Uint8Array(this.rest.length + bytes.length);
    joined.set(this.rest); joined.set(bytes, this.rest.length);
    this.rest = joined;
    while (this[this.state]());
  }
  /* The peer sends no more. True if the answer is whole. */
  end() {
    if (this.state === 'toEnd') this.state = 'whole';
    return this.done;
  }
  take(n) { const t = this.rest.slice(0, n); this.rest = this.rest.slice(n); return t; }
  /* The text before the next `mark`, or undefined if it is not there yet. */
  upto(mark) {
    const latin = Array.from(this.rest.slice(0, HEAD_MAX), c => String.fromCharCode(c)).join(''), n = latin.indexOf(mark);
    if (n < 0 && latin.length === HEAD_MAX) throw new Trouble('the answer has a head without end');
    if (n >= 0) { this.take(n + mark.length); return latin.slice(0, n); }
  }
  give(bytes) {
    const piece = this.utf8.decode(bytes, { stream: true });
    this.text += piece;
    this.onBody(piece);
  }
  head() {
    const head = this.upto('\r\n\r\n');
    if (head === undefined) return false;
    const [first, ...fields] = head.split('\r\n'), m = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(first);
    if (!m) throw new Trouble('this is no HTTP/1.1 answer: ' + JSON.stringify(first.slice(0, 40)));
    [this.status, this.reason] = [+m[1], m[2]];
    for (const f of fields) this.headers[f.slice(0, f.indexOf(':')).toLowerCase()] = f.slice(f.indexOf(':') + 1).trim();
    const size = this.headers['content-length'];
    if (/chunked$/i.test(this.headers['transfer-encoding'])) this.state = 'size';
    else if (this.status === 204 || this.status === 304 || size === '0') this.state = 'whole';
    else if (size !== undefined && !/^\d+$/.test(size)) throw new Trouble('a Content-Length of ' + size);
    else [this.state, this.left] = size === undefined ? ['toEnd', Infinity] : ['sized', +size];
    return true;
  }
  body(next) {
    const piece = this.take(Math.min(this.left, this.rest.length));
    if (!piece.length) return false;
    this.left -= piece.length;
    if (!this.left) this.state = next;
    this.give(piece);
    return true;
  }
  sized() { return this.body('whole'); }
  toEnd() { return this.body('whole'); }
  chunk() { return this.body('chunkEnd'); }
  chunkEnd() {
    const line = this.upto('\r\n');
    if (line) throw new Trouble('a chunk is longer than it said');
    if (line === '') this.state = 'size';
    return line === '';
  }
  size() {
    const line = this.upto('\r\n');
    if (line === undefined) return false;
    if (!/^[0-9a-f]{1,8} *(;|$)/i.test(line)) throw new Trouble('a chunk of size ' + JSON.stringify(line.slice(0, 20)));
    this.left = parseInt(line, 16);
    this.state = this.left ? 'chunk' : 'trailer';
    return true;
  }
  trailer() {
    const line = this.upto('\r\n');
    if (line === '') this.state = 'whole';
    return line !== undefined && line !== '';
  }
  whole() { return false; }
}

const DIAL_MS = 3000, DIALS_MAX = 40;

/* A request to the kernel: { status, reason, headers, text, ms }. `body` is sent as JSON. */
function call(method, path, body, { onBody, signal } = {}) {
  const m = machine, json = body === undefined ? '' : JSON.stringify(body);
  const head = `${method} ${path} HTTP/1.1\r\nHost: ${GUEST}\r\n` +
    (json ? `Content-Type: application/json\r\nContent-Length: ${utf8.encode(json).length}\r\n` : '') + '\r\n';
  return new Promise((resolve, reject) => {
    if (!m?.alive) return reject(new Trouble('the machine is switched off'));
    const begun = performance.now();
    let conn, timer, reply, dials = 0;
    const over = () => { clearTimeout(timer); m.calls.delete(fail); signal?.removeEventListener('abort', stop); };
    const fail = e => { over(); conn?.release(); reject(e); };
    const stop = () => fail(new DOMException('stopped', 'AbortError'));
    const whole = () => { over(); conn.close(); resolve(Object.assign(reply, { ms: performance.now() - begun })); };
    const safely = f => { try { f(); } catch (e) { fail(e); } };
    const dial = () => {
      if (dials++ === DIALS_MAX) return fail(new Trouble('the kernel does not answer on port 80'));
      conn?.release();
      const c = conn = m.net.connect(80);
      reply = new Reply(onBody);
      timer = setTimeout(dial, DIAL_MS);
      c.on('connect', () => { clearTimeout(timer); c.write(utf8.encode(head + json)); });
      c.on('data', bytes => safely(() => { if (c === conn && !reply.done) { reply.push(bytes); if (reply.done) whole(); } }));
      c.on('shutdown', () => c === conn && !reply.done && (reply.end() ? whole() : fail(new Trouble('the kernel closed the connection in the middle of its answer'))));
      c.on('close', () => c === conn && !reply.done && fail(new Trouble('the kernel refused or reset the connection')));
    };
    m.calls.add(fail);
    signal?.addEventListener('abort', stop);
    signal?.aborted ? stop() : dial();
  });
}

/* Server-sent events (WHATWG HTML §9.2.6) from text in any cut: calls `on` with each event's data. */
function events(on) {
  let text = '';
  return piece => {
    const parts = (text += piece).split('\n\n');
    text = parts.pop();
    for (const p of parts) {
      const data = p.split('\n').filter(l => l.startsWith('data:')).map(l => l.slice(5).trim()).join('\n');
      if (data) on(data);
    }
  };
}

/* ---- nbs/lab/39_browser.ipynb § Chat and HTTP ---- */

let messages = [], stopper = null;

function say(cls, text = '') {
  const e = el('div', cls, text);
  $('log').append(e);
  e.scrollIntoView({ block: 'nearest' });
  return e;
}

function timing(t) {
  return `prompt ${t.prompt_n}${t.cache_n ? ` + ${t.cache_n} cached` : ''} in ${(t.prompt_ms / 1000).toFixed(1)} s · ${t.predicted_n} tokens`;
}

async function ask(question) {
  $('log').querySelector('.ideas')?.remove();
  say('user', question);
  const talk = messages, out = say('assistant live'), foot = say('foot');
  talk.push({ role: 'user', content: question });
  stopper = new AbortController();
  $('go').textContent = 'Stop';
  $('log').ariaBusy = true;
  let answer = '', n = 0, first;
  const onEvent = data => {
    if (data === '[DONE]') return;
    const e = JSON.parse(data), piece = e.choices?.[0]?.delta?.content;
    if (e.error) throw new Trouble(e.error.message);
    if (piece) {
      answer += piece;
      out.append(piece);
      first ??= performance.now();
      if (n++) rate(foot, (n - 1) * 1000 / (performance.now() - first));
      foot.scrollIntoView({ block: 'nearest' });
    }
    if (e.timings) { rate(foot, e.timings.predicted_per_second); foot.append(' · ' + timing(e.timings)); figures(e.timings); }
  };
  try {
    const feed = events(onEvent);
    const r = await call('POST', '/v1/chat/completions', { messages: talk, temperature: 0, stream: true },
      { signal: stopper.signal, onBody: feed });
    if (r.status !== 200) throw new Trouble(errorText(r));
  } catch (e) {
    if (e.name !== 'AbortError') say('error', e.message);
    else foot.append(' · stopped');
  } finally { $('log').ariaBusy = false; }
  if (answer) talk.push({ role: 'assistant', content: answer });
  else talk.pop();
  out.classList.remove('live');
  stopper = null;
  $('go').textContent = 'Send';
}

function rate(foot, perSecond) { foot.replaceChildren(el('b', '', perSecond.toFixed(1) + ' tokens/s')); }

function errorText(r) {
  try { return JSON.parse(r.text).error.message; } catch { return `${r.status} ${r.reason}`; }
}

function freshTalk() {
  stopper?.abort();
  messages = [];
  $('log').replaceChildren();
  const ideas = el('div', 'ideas');
  for (const q of ['Hello! What are you?', 'How large is the arena?', 'What is 8 + 7?', 'Tell me a story about a robot.'])
    ideas.append(Object.assign(el('button', '', q), { type: 'button', onclick: () => ask(q) }));
  $('log').append(ideas);
}

/* GET `path` and show everything: the status line, the fields, the body. */
async function show(path) {
  $('path').value = path;
  $('answer').textContent = `GET ${path} …`;
  try {
    const r = await call('GET', path);
    let text = r.text;
    try { text = JSON.stringify(JSON.parse(text), null, 1); } catch { }
    $('answer').textContent = `HTTP/1.1 ${r.status} ${r.reason}   (${r.ms.toFixed(0)} ms)\n` +
      Object.entries(r.headers).map(([k, v]) => `${k}: ${v}\n`).join('') + '\n' + text;
  } catch (e) { $('answer').textContent = e.message; }
  $('answer').scrollTop = 0;
}

/* ---- nbs/lab/39_browser.ipynb § The page believes what the kernel says ---- */

let stages = null, stage = null, machine = null, said = {};

function state(kind, text) { $('dot').className = kind; $('state').textContent = text; }

function note(text, bad = false, bar = false) { $('load').hidden = !text; $('bar').hidden = !bar; $('note').role = bad ? 'alert' : null; $('note').textContent = text; $('note').classList.toggle('bad', bad); }

function figures(timings) {
  const m = machine?.marks ?? {}, parts = [];
  const add = (name, value) => value !== undefined && parts.push([name, value]);
  const ms = v => v === undefined ? undefined : (v / 1000).toFixed(2) + ' s';
  add('loaded', said.loaded && `${megabytes(said.loaded)} in ${(said.load_ms / 1000).toFixed(1)} s`);
  add('first words after', ms(m.serial));
  add('address after', ms(m.address));
  add('model', said.model);
  add('speed', timings && `${timings.predicted_per_second.toFixed(1)} tokens/s`);
  $('figures').replaceChildren(...parts.map(([k, v]) => { const s = el('span', '', k + ' '); s.append(el('b', '', v)); return s; }));
}

const WATCH = [
  [/^\[http\] listening/, m => { m.mark('http'); $('api').hidden = false; }],
  [/^\[api\] v1 routes mounted: (.*)/, (m, routes) => {
    said.routes = routes.split(' ');
    $('paths').replaceChildren(...['/health', '/props', '/metrics', '/slots', '/v1/models'].filter(p => said.routes.includes(p))
      .map(p => Object.assign(el('button', '', p), { type: 'button', onclick: () => show(p) }))); }],
  [/^\[llm\] (.*), ctx \d+, .*ready/, (m, model) => { said.model = model; m.mark('model'); $('talk').hidden = !said.routes?.includes('/v1/chat/completions'); }],
  [/^\[net\] ip=([\d.]+)/, m => { m.mark('address'); if (m.marks.http) state('ready', 'serving'); }],
  [/^\[panic\] (.*)/, (m, why) => { said.panic ??= why; state('dead', 'panic'); }],
];

function watch(line) {
  for (const [pattern, then] of WATCH) { const m = pattern.exec(line); if (m) { then(machine, m[1]); figures(); } }
}

async function boot() {
  await halt('starting again');
  $('boot').disabled = true;
  for (const id of ['talk', 'api']) $(id).hidden = true;
  $('answer').textContent = ''; $('paths').replaceChildren();
  freshTalk(); terminal.clear(); $('serial').classList.remove('off'); said = {};
  state('booting', 'loading');
  try {
    const begun = performance.now();
    const parts = await loadAll(stage, (have, total) => {
      $('bar').firstChild.style.width = 100 * have / total + '%';
      $('bar').ariaValueNow = Math.floor(100 * have / total);
      note(`${megabytes(have)} of ${megabytes(total)}`, false, true);
      said.loaded = total;
    });
    said.load_ms = performance.now() - begun;
    state('booting', 'booting');
    note('');
    machine = new Machine(parts, stage, {
      serial(b) {
        if (machine.marks.serial === undefined) { machine.mark('serial'); state('ready', 'running'); }
        const line = terminal.byte(b);
        if (line !== undefined) watch(line);
      },
      end(reason) {
        state('dead', said.panic ? 'panic' : 'stopped');
        if (reason !== 'switched off' && reason !== 'starting again')
          note(said.panic ? `The kernel panicked: ${said.panic}. Registers and backtrace are on its console. Boot starts it again.` : `The machine stopped: ${reason}. Boot starts it again.`, true);
        running(false);
      } });
    running(true);
  } catch (e) {
    if (!(e instanceof Trouble)) console.error(e);
    state('dead', 'not started');
    note(e instanceof Trouble ? e.message + ' · Boot tries again.' : `Something went wrong in this page: ${e.message}`, true);
    running(false);
  }
}

async function halt(reason) { machine?.end(reason); machine = null; }

function running(on) {
  $('boot').disabled = false;
  $('boot').textContent = on ? 'Reboot' : 'Boot';
  $('stop').hidden = !on;
  $('line').disabled = !on;
  $('serial').classList.toggle('live', on);
  $('serialhint').textContent = on ? 'click into it and type' : '';
}

const terminal = new Terminal($('serial'));

$('boot').onclick = boot;
$('stop').onclick = () => halt('switched off');
$('fresh').onclick = freshTalk;
$('lineform').onsubmit = e => { e.preventDefault(); machine?.type($('line').value + '\r'); $('line').value = ''; };
$('getform').onsubmit = e => { e.preventDefault(); show($('path').value); };
$('chatform').onsubmit = e => {
  e.preventDefault();
  if (stopper) return stopper.abort();
  const q = $('text').value.trim();
  if (q) { $('text').value = ''; ask(q); }
};
$('text').onkeydown = e => {
  if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); if (!stopper) $('chatform').requestSubmit(); }
};
$('serial').onkeydown = e => {
  const bytes = !(e.ctrlKey && e.key === 'c' && String(getSelection())) && keyBytes(e);
  if (bytes) { e.preventDefault(); machine?.type(bytes); }
};
$('serial').onpaste = e => machine?.type(e.clipboardData.getData('text').replace(/\r?\n/g, '\r'));

(async () => {
  const query = new URLSearchParams(location.search);
  if (/^(light|dark)$/.test(query.get('theme'))) document.documentElement.style.colorScheme = query.get('theme');
  try {
    const r = await fetch('stages.json').catch(() => { throw new Trouble(location.protocol === 'file:'
      ? 'A page from the disk may not load files. Serve this folder (python3 -m http.server) and open it through http://127.0.0.1:8000/tab.html' : 'stages.json could not be loaded'); });
    if (!r.ok) throw new Trouble(`stages.json could not be loaded: the server says ${r.status}`);
    stages = await r.json();
    stage = stages.stages.find(s => s.name === (query.get('stage') || stages.stages[0].name));
    if (!stage) throw new Trouble(`There is no stage "${query.get('stage')}" here. There are: ${stages.stages.map(s => s.name).join(', ')}`);
    for (const s of stages.stages) $('stage').append(Object.assign(el('option', '', s.title), { value: s.name, selected: s === stage }));
    $('stage').hidden = stages.stages.length < 2;
    $('title').hidden = !$('stage').hidden;
    $('title').textContent = stage.title;
    $('stage').onchange = () => { query.set('stage', $('stage').value); location.search = query; };
    const bytes = [stages.wasm, stage.elf, stage.model].reduce((n, f) => n + (f?.bytes ?? 0), 0);
    note(`Boot loads ${megabytes(bytes)} and starts ${stage.title} in this tab.`);
    $('boot').disabled = false;
    if (typeof WebAssembly !== 'object' || query.has('boot')) boot();
  } catch (e) { state('dead', 'not started'); note(e.message, true); }
})();
