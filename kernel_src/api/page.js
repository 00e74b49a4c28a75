/* page.js: tangled from nbs/api/33_page.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/33_page.ipynb § What it does ---- */

'use strict';
const $ = id => document.getElementById(id), all = s => document.querySelectorAll(s);
const el = (tag, cls = '', text = '') =>
  Object.assign(document.createElement(tag), { className: cls, textContent: text });

/* What this browser remembers; a private window may remember nothing. */
function keep(k, v) {
  try { return v === undefined ? localStorage['cllm.' + k] || '' : localStorage['cllm.' + k] = v; }
  catch { return ''; }
}

class Refusal extends Error { constructor(status, message) { super(message); this.status = status; } }

const headers = () => $('key').value ? { Authorization: 'Bearer ' + $('key').value } : {};

async function refusal(r) {
  let message = r.statusText;
  try { const e = JSON.parse(await r.text()).error; message = e.message || e; } catch { }
  return new Refusal(r.status, message);
}

async function get(path, as = 'json') {
  const r = await fetch(path, { headers: headers(), signal: AbortSignal.timeout(20000) });
  if (!r.ok) throw await refusal(r);
  return r[as]();
}

/* Server-sent events (WHATWG HTML §9.2) of a POST, one parsed object at a time. */
async function* events(path, body, signal) {
  const r = await fetch(path, { method: 'POST', signal, body: JSON.stringify({ ...body, stream: true }),
                                  headers: { 'Content-Type': 'application/json', ...headers() } });
  if (!r.ok) throw await refusal(r);
  const reader = r.body.getReader(), utf8 = new TextDecoder();
  let text = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += utf8.decode(value, { stream: true });
      const parts = text.split('\n\n');
      text = parts.pop();
      for (const p of parts) {
        const data = p.split('\n').filter(l => l.startsWith('data:')).map(l => l.slice(5).trim()).join('\n');
        if (!data) continue;
        if (data === '[DONE]') return;
        const e = JSON.parse(data);
        if (e.error) throw new Refusal(e.error.code, e.error.message);
        yield e;
      }
    }
  } finally { reader.cancel().catch(() => { }); }
}

const FIELDS = [
  ['temperature', 'Temperature', 0, 5, .05], ['top_k', 'Top k', 0, 1000, 1],
  ['top_p', 'Top p', 0, 1, .01], ['min_p', 'Min p', 0, 1, .01],
  ['max_tokens', 'Max tokens', -1, 1e6, 1], ['seed', 'Seed', -1, 4294967295, 1],
  ['repeat_penalty', 'Repeat penalty', .01, 5, .05], ['repeat_last_n', '… looks back', 0, 1024, 1],
  ['presence_penalty', 'Presence pen.', -5, 5, .1], ['frequency_penalty', 'Frequency pen.', -5, 5, .1],
];
const params = {};

function field([name, title, min, max, step]) {
  const label = el('label'), input = el('input');
  label.append(el('span', '', title), input);
  label.title = name;
  Object.assign(input, { type: 'number', min, max, step, name, value: keep('p.' + name) });
  (input.oninput = () => {
    const { rangeUnderflow: low, rangeOverflow: high } = input.validity, ok = input.value !== '' && !low && !high;
    ok ? params[name] = +input.value : delete params[name];
    input.classList.toggle('set', ok);
    keep('p.' + name, ok ? input.value : '');
  })();
  $('grid').append(label);
}

function showDefaults(p) {
  for (const [name] of FIELDS) {
    const v = p[name === 'max_tokens' ? 'n_predict' : name];
    const shown = name === 'seed' && v > 4294967294 ? 'random' : v === -1 ? 'no limit' : v;
    document.getElementsByName(name)[0].placeholder = typeof shown === 'number' ? +shown.toFixed(4) : shown ?? '';
  }
}

/* Fenced code, `code` and **bold** become elements; nothing is ever taken for HTML. */
function inline(to, text) {
  for (const piece of text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/))
    if (/^`.+`$/.test(piece)) to.append(el('code', '', piece.slice(1, -1)));
    else if (/^\*\*.+\*\*$/.test(piece)) to.append(el('b', '', piece.slice(2, -2)));
    else if (piece) to.append(piece);
}
function render(to, text) {
  to.replaceChildren();
  text.split(/^```[^\n]*\n?/m).forEach((part, i) => {
    if (i % 2) to.append(Object.assign(el('pre', '', part.trimEnd()), { tabIndex: 0 }));
    else inline(to, part);
  });
}

function timing(t) {
  const n = (v, unit) => v >= 100 ? Math.round(v) + unit : v.toFixed(1) + unit;
  const cached = t.cache_n ? ` + ${t.cache_n} cached` : '';
  return [el('b', '', t.predicted_per_second ? n(t.predicted_per_second, ' tokens/s') : ''),
    el('span', '', t.predicted_n + (t.predicted_n === 1 ? ' token' : ' tokens')),
    el('span', '', `prompt ${t.prompt_n}${cached} in ${n(t.prompt_ms, ' ms')}`)];
}

const action = (title, onclick) => Object.assign(el('button', 'act', title), { type: 'button', onclick });

let stopper = null, messages = [];

function busy(on) {
  stopper = on ? new AbortController() : null;
  $('log').ariaBusy = on;
  dot(on ? 'busy' : 'ready');
  label();
}
const label = () => $('go').textContent = stopper ? 'Stop' : docMode() ? 'Continue' : 'Send';

/* `piece` gets each event and tells if it brought text. An error is shown at the end of `where`. */
async function generate(path, body, piece, where) {
  busy(true);
  let n = 0, first = 0, timings = null;
  try {
    for await (const e of events(path, body, stopper.signal)) {
      if (piece(e)) { n++; first ||= performance.now(); }
      const s = (performance.now() - first) / 1000;
      $('stat').textContent = !n ? 'reading the prompt …' : n === 1 || s < .2 ? 'writing …'
        : `${n} tokens · ${((n - 1) / s).toFixed(1)} tokens/s`;
      timings = e.timings || timings;
    }
  } catch (e) {
    if (e.name !== 'AbortError') where.append(complaint(e));
  }
  $('stat').textContent = '';
  busy(false);
  machine();
  return { timings, n };
}

/* The sheet of settings: opened, closed or, without `on`, the other way. */
const side = on => $('more').ariaExpanded = document.body.classList.toggle('side', on);

function complaint(e) {
  const net = !(e instanceof Refusal), p = el('p', 'error', net
    ? `The machine does not answer: ${e.message}. Is it still running?`
    : `The server answers ${e.status}: ${e.message}`);
  p.role = 'alert';
  if (e.status === 401) { side(true); $('d-key').open = true; $('key').focus(); }
  if (net) ask();
  return p;
}

function turn(m) {
  const t = el('div', 'turn ' + m.role);
  if (m.role === 'user') t.textContent = m.content;
  else {
    t.think = el('div', 'think'); t.text = el('div', 'text'); t.foot = el('div', 'foot');
    t.append(t.think, t.text, t.foot);
    (t.show = () => {
      t.think.textContent = m.reasoning_content || '';
      t.think.hidden = !m.reasoning_content;
      render(t.text, m.content);
    })();
  }
  $('log').append(t);
  return t;
}

const near = () => $('main').scrollHeight - $('main').scrollTop - $('main').clientHeight < 90;
const toEnd = () => $('main').scrollTop = $('main').scrollHeight;

async function answer() {
  saveChat();
  const system = $('system').value.trim(), chat = messages;
  const first = system ? [{ role: 'system', content: system }] : [];
  const m = { role: 'assistant', content: '' }, t = turn(m);
  t.classList.add('live');
  toEnd();
  const r = await generate('v1/chat/completions', { ...params, messages: [...first, ...chat] }, e => {
    const d = e.choices?.[0]?.delta || {}, stick = near();
    if (d.reasoning_content) m.reasoning_content = (m.reasoning_content || '') + d.reasoning_content;
    if (d.content) m.content += d.content;
    if (d.content || d.reasoning_content) t.show();
    if (stick) toEnd();
    return d.content || d.reasoning_content;
  }, $('log'));
  t.classList.remove('live');
  if (chat !== messages) return;                          // a new chat began meanwhile
  if (!m.content && !m.reasoning_content && !r.timings) {
    t.remove();
    $('text').value ||= chat.at(-1).content;              // to be sent again
  } else {
    messages.push(m);
    t.foot.append(...(r.timings ? timing(r.timings) : [`stopped after ${r.n} tokens`]), ...after(m, t));
  }
  saveChat();
  if (near()) toEnd();
}

function after(m, t) {
  const again = () => {
    if (stopper) return;
    messages.splice(messages.indexOf(m));
    while (t.nextSibling) t.nextSibling.remove();
    t.remove();
    answer();
  };
  const copy = () => navigator.clipboard.writeText(m.content).catch(() => { });
  return [...(navigator.clipboard ? [action('copy', copy)] : []), action('again', again)];    // plain http has one on this machine only
}

function send(text) {
  if (!text.trim() || stopper) return;
  all('#log .error').forEach(e => e.remove());
  const last = messages.at(-1);
  if (last?.role === 'user') { messages.pop(); $('log').lastChild?.remove(); }    // it got no answer
  messages.push({ role: 'user', content: text });
  turn(messages.at(-1));
  $('text').value = '';
  answer();
}

function newChat() {
  stopper?.abort();
  messages = [];
  $('log').replaceChildren();
  saveChat();
  $('text').focus();
}
function saveChat() {
  $('hello').hidden = messages.length > 0;
  $('fresh').hidden = docMode() || !messages.length;
  try { sessionStorage.setItem('cllm.chat', JSON.stringify(messages)); } catch { }
}
function loadChat() {
  try { messages = JSON.parse(sessionStorage.getItem('cllm.chat')) || []; } catch { }
  for (const m of messages) { const t = turn(m); if (t.foot) t.foot.append(...after(m, t)); }
  saveChat();
}

const docMode = () => !$('page').hidden;

async function goOn() {
  if (stopper) return;
  const doc = $('doc'), before = doc.value, { max_tokens: n_predict, ...rest } = params;
  all('#page .error').forEach(e => e.remove());
  doc.readOnly = true;
  const r = await generate('completion', { ...rest, n_predict, prompt: doc.value }, e => {
    doc.value += e.content || '';
    doc.scrollTop = doc.scrollHeight;
    return e.content;
  }, $('page'));
  const undo = action('undo', () => { doc.value = before; $('stat').textContent = ''; });
  $('stat').replaceChildren(...(r.timings ? timing(r.timings) : []).flatMap(s => [s, ' · ']), undo);
  doc.readOnly = false;
  doc.oninput = () => undo.remove();                      // it would take what was typed since
}

function mode(doc) {
  $('page').hidden = !doc;
  $('chat').hidden = $('text').hidden = doc;
  $('box').className = doc ? 'bare' : '';
  $('stat').textContent = '';
  saveChat();
  $('m-chat').ariaPressed = !doc;
  $('m-doc').ariaPressed = doc;
  $('keys').textContent = (doc ? 'Ctrl+Enter continues' : 'Enter sends · Shift+Enter new line') + ' · Esc stops';
  label();
  $(doc ? 'doc' : 'text').focus();
}

const dot = state => Object.assign($('dot'), { className: state, ariaLabel: state, title: state });

const size = n => n < 1 << 20 ? Math.ceil(n / 1024) + ' KiB' : (n / (1 << 20)).toFixed(1) + ' MiB';

function row(a, b) {
  const r = el('div', 'row');
  r.append(el('span', '', a), el('span', '', b));
  return r;
}

function bar(name, used, total, peak = 0) {
  const b = el('div', 'bar'), i = el('i'), u = el('u');
  i.style.width = 100 * used / total + '%';
  u.style.width = 100 * peak / total + '%';
  u.hidden = !peak;
  b.title = peak ? 'peak ' + size(peak) : '';
  b.append(u, i);
  return [row(name, `${size(used)} of ${size(total)}`), b];
}

function metricsOf(text) {
  const m = {};
  for (const [, k, v] of text.matchAll(/^llamacpp:(\w+)(?:\{[^}]*\})? ([-+.\deE]+)/gm)) m[k] = +v;
  return m;
}

let off = {};                                             // what this server does not serve

async function optional(name, as) {
  if (!off[name]) try { return await get(name, as); } catch (e) { off[name] = [403, 404, 501].includes(e.status); }
}

function figures(p, out) {
  const m = p.memory, { n_ctx, params } = p.default_generation_settings;
  $('away').hidden = true;
  $('model').textContent = [p.model_alias, p.model_ftype].filter(Boolean).join(' · ');
  $('sizes').textContent = `${p.total_slots} conversations at once, ${n_ctx} tokens each.`;
  document.title = p.model_alias + ' · cllm';
  showDefaults(params);
  if (m) out.push(...bar('Model region', m.region_used, m.region_size), ...bar('Heap', m.heap_used, m.heap_size, m.heap_peak));
  out.push(row('Slots', `${p.total_slots} × ${n_ctx} tokens`));
}

async function machine() {
  const out = [], list = el('div', 'slots');
  try { figures(await get('props'), out); }
  catch (e) {
    if (!(e instanceof Refusal)) return away();
    $('away').hidden = true;                              // it is there, and has its reasons
    out.push(el('small', '', `/props: ${e.status} ${e.message}`));
  }
  for (const s of await optional('slots') || []) {
    const n = [].concat(s.next_token ?? [])[0]?.n_decoded, on = s.is_processing;
    list.append(Object.assign(el('i', on ? 'on' : '', on ? n ?? '…' : s.id), { title: `slot ${s.id}: ${on ? 'at work, tokens written' : 'idle'}` }));
  }
  out.push(list);
  const m = metricsOf(await optional('metrics', 'text') || '');
  for (const [k, title, unit = ''] of METRICS) if (k in m) out.push(row(title, +m[k].toFixed(1) + unit));
  const missing = ['slots', 'metrics'].filter(k => off[k]).map(k => '/' + k);
  if (missing[0]) out.push(el('small', '', missing.join(' and ') + ': not served here'));
  $('machine').replaceChildren(...out);
  if (!stopper) dot('ready');
}
const METRICS = [['prompt_tokens_seconds', 'Reading', ' tokens/s'], ['predicted_tokens_seconds', 'Writing', ' tokens/s'],
  ['prompt_tokens_total', 'Tokens read'], ['tokens_predicted_total', 'Tokens written'],
  ['requests_processing', 'At work'], ['requests_deferred', 'Waiting']];

function away() {
  dot('away');
  $('away').textContent = 'The machine does not answer. Is it still running? Trying again every few seconds.';
  $('away').hidden = false;
  $('machine').replaceChildren(el('small', '', 'no answer'));
}

let asked;
function ask() {
  clearTimeout(asked);
  const next = () => { asked = setTimeout(ask, stopper ? 3000 : 5000); };
  document.hidden ? next() : machine().finally(next);
}

FIELDS.forEach(field);
for (const id of ['key', 'system']) { $(id).value = keep(id); $(id).oninput = () => keep(id, $(id).value); }
$('key').onchange = () => { off = {}; machine(); };
$('d-system').open = !!$('system').value;
$('form').onsubmit = e => { e.preventDefault(); stopper ? stopper.abort() : docMode() ? goOn() : send($('text').value); };
$('text').onkeydown = e => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); send($('text').value); } };
$('doc').onkeydown = e => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); goOn(); } };
document.onkeydown = e => { if (e.key === 'Escape') { stopper ? stopper.abort() : side(false); } };
all('#hello button').forEach(b => b.onclick = () => send(b.textContent));
$('m-chat').onclick = () => mode(false);
$('m-doc').onclick = () => mode(true);
$('more').onclick = () => side();
$('fresh').onclick = newChat;
$('reset').onclick = e => { e.preventDefault(); all('#grid input').forEach(i => { i.value = ''; i.oninput(); }); };
const theme = t => { document.documentElement.style.colorScheme = t; keep('theme', t); };
theme(keep('theme'));
$('theme').onclick = () => {
  const now = keep('theme') || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  theme(now === 'dark' ? 'light' : 'dark');
};
loadChat();
ask();
