/* lab/cllm-lab/remoteEntry.js: tangled from nbs/tools/13_lab.ipynb. Edit the notebook, not this file. */

/* ---- nbs/tools/13_lab.ipynb § JupyterLab learns C ---- */

'use strict';
(() => {
const MIME = { S: 'text/x-gas', css: 'text/css', html: 'text/html', js: 'text/javascript', json: 'application/json' };

/* The MIME type of a cell's text, or undefined when it is the notebook's own language. */
function language(source) {
  const m = /^%%c(?!\w).*(?:\n\s*#\|\s*exports?\s+\S+\.(\w+)\s*$)?/m.exec(source);
  return m?.index === 0 ? MIME[m[1]] ?? 'text/x-csrc' : undefined;
}

function followLanguage(model, notebook) {
  const set = () => {
    const mime = language(model.sharedModel.getSource()) ?? notebook.codeMimetype;
    if (model.mimeType !== mime) model.mimeType = mime;
  };
  model.contentChanged.connect(set);
  model.mimeTypeChanged.connect(set);
  set();
}

/* What gcc said in a cell's outputs: [{ cell, line, column, text, quote }], numbers as gcc counts;
 * `quote` is the line, which stands below the message. */
function complaints(outputs) {
  const found = [];
  for (let i = 0; i < outputs.length; i++) {
    const o = outputs.get(i).toJSON();
    if (o.output_type !== 'error' || o.ename !== 'CompileError') continue;
    for (const [, cell, line, column, text, quote] of
         o.evalue.matchAll(/^.*\[(\d+)\]:(\d+):(\d+): ((?:fatal error|error|warning): .*)\n *\d+ \| (.*)$/gm))
      found.push({ cell: +cell, line: +line, column: +column, text, quote });
  }
  return found;
}

/* A function (view, complaints) that underlines in an editor, given CodeMirror's own modules. */
function marker({ StateEffect, StateField }, { Decoration, EditorView }) {
  const marks = StateEffect.define();
  const field = StateField.define({
    create: () => Decoration.none,
    update: (now, change) => change.effects.find(e => e.is(marks))?.value ?? now.map(change.changes),
    provide: f => EditorView.decorations.from(f),
  });
  const place = (doc, c) => {
    if (c.line > doc.lines) return [];
    const line = doc.line(c.line), from = Math.min(line.from + c.column - 1, line.to);
    const to = from + (/^(\w+|\W)/.exec(doc.sliceString(from, line.to))?.[0].length ?? 0);
    return to > from ? [Decoration.mark({ class: 'cllm-complaint', attributes: { title: c.text } }).range(from, to)] : [];
  };
  return (view, list) => {
    const value = Decoration.set(list.flatMap(c => place(view.state.doc, c)), true);
    if (view.state.field(field, false) === undefined) view.dispatch({ effects: StateEffect.appendConfig.of(field) });
    view.dispatch({ effects: marks.of(value) });
  };
}

const reads = (model, c) => model?.sharedModel.getSource().split('\n')[c.line - 1] === c.quote;

function attach(notebook, mark) {
  const known = new WeakSet();
  const show = (model, list) => {
    const widget = notebook.widgets.find(w => w.model === model);
    if (widget?.editor) mark(widget.editor.editor, list);
  };
  const followComplaints = model => {
    let marked = [];
    model.outputs.changed.connect(() => {
      const cells = [...notebook.model.cells], list = complaints(model.outputs);
      for (const c of list) c.about = [cells[c.cell], model, ...cells].find(m => reads(m, c));
      const now = [...new Set(list.map(c => c.about))].filter(Boolean);
      for (const m of marked) if (!now.includes(m)) show(m, []);
      for (const m of now) show(m, list.filter(c => c.about === m));
      marked = now;
    });
  };
  const look = () => {
    for (const model of notebook.model?.cells ?? []) {
      if (model.type !== 'code' || known.has(model)) continue;
      known.add(model);
      followLanguage(model, notebook);
      followComplaints(model);
    }
  };
  const list = () => { notebook.model?.cells.changed.connect(look); look(); };
  notebook.modelChanged.connect(list);
  list();
}

const STYLE = `.cllm-complaint { text-decoration: underline wavy var(--jp-error-color1, #c33) 1px;
  text-underline-offset: 3px; background: color-mix(in srgb, var(--jp-error-color1, #c33) 14%, transparent) }`;

let shared;                                                /* {package: {version: {get}}} */

async function take(name) {
  const versions = Object.values(shared[name]);
  return (await (versions.find(v => v.loaded) ?? versions.at(-1)).get())();
}

const plugin = {
  id: 'cllm-lab:plugin',
  description: 'Highlights %%c cells as C and underlines what the compiler complains about.',
  autoStart: true,
  activate: async app => {
    document.head.append(Object.assign(document.createElement('style'), { textContent: STYLE }));
    const mark = marker(...await Promise.all(['@codemirror/state', '@codemirror/view'].map(take)));
    app.docRegistry.addWidgetExtension('Notebook', { createNew: panel => attach(panel.content, mark) });
  },
};

(window._JUPYTERLAB ??= {})['cllm-lab'] = {
  init: modules => { shared = modules; },
  get: async () => () => ({ __esModule: true, default: plugin }),
};
})();
