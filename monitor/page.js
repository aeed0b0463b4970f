'use strict';
// The dashboard: asks /api/..., draws with dygraphs if it is installed, tables in any case.

const POINTS = 800;
const COLORS = ['#2f6fde', '#e07b00', '#1a9e6e', '#b0389b'];
const CHARTS = {
  D: ['loss/D_A', 'loss/D_B'],
  G: ['loss/G_A', 'loss/G_B'],
  cycle: ['loss/cycle_A', 'loss/cycle_B'],
  idt: ['loss/idt_A', 'loss/idt_B'],
  rate: ['rate/img_per_s'],
  time: ['time/step_ms', 'time/wait_ms'],
  swd: ['swd/AtoB', 'swd/BtoA', 'swd/AtoB_identity', 'swd/BtoA_identity'],
  lr: ['lr'],
};
const LOSSES = ['D', 'G', 'cycle', 'idt'];

const $ = id => document.getElementById(id);
const state = {run: null, runs: [], keys: [], series: {}, graphs: {}, samples: [], playing: null,
               stick: true, cost: 0, zoom: null};

async function ask(path, parameters) {
  const query = new URLSearchParams({run: state.run || '', ...parameters});
  if (!state.run) query.delete('run');
  const answer = await fetch(`${path}?${query}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// ---- small things ----

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined && text !== null) e.textContent = text;
  if (className) e.className = className;
  return e;
}

// columns: [title, value(row), {n: number, c: class(row)}]
function fillTable(table, rows, columns, empty) {
  table.replaceChildren();
  if (!rows.length) {
    table.append(element('caption', empty, 'note'));
    return;
  }
  const head = table.createTHead().insertRow();
  for (const [title, , how] of columns) head.append(element('th', title, how && how.n ? 'n' : ''));
  const body = table.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const [, value, how] of columns) {
      const v = value(row);
      const td = element('td', v instanceof Node ? null : v, [how && how.n ? 'n' : '', how && how.c ? how.c(row) : ''].join(' ').trim());
      if (v instanceof Node) td.append(v);
      tr.append(td);
    }
  }
}

function number(v, special) {
  if (special) return ['', 'NaN', '+Inf', '−Inf'][special];
  if (v === null || v === undefined) return '–';
  if (Number.isInteger(v) && Math.abs(v) < 1e9) return v.toLocaleString('en');
  return Math.abs(v) >= 1e-3 && Math.abs(v) < 1e6 ? Number(v.toPrecision(4)).toString() : Number(v.toPrecision(3)).toExponential().replace('e+', 'e');
}

function bytes(n) {
  if (!n) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const k = Math.min(Math.floor(Math.log2(n) / 10), 4);
  return `${(n / 1024 ** k).toFixed(k ? 1 : 0)} ${units[k]}`;
}

function duration(s) {
  if (s < 60) return `${s.toFixed(0)} s`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(1)} h`;
  return `${(s / 86400).toFixed(1)} d`;
}

const clock = us => us ? new Date(us / 1000).toLocaleString('sv') : '–';
const short = key => key.replace(/^.*\//, '');
const newest = key => state.keys.find(k => k.key === key);

// ---- charts ----

function smooth(values, weight) {
  let mean = null, norm = 0;
  return values.map(v => {
    if (v === null) return null;
    mean = mean === null ? (1 - weight) * v : weight * mean + (1 - weight) * v;
    norm = weight * norm + (1 - weight);
    return mean / norm;
  });
}

// One row per step: [step, [low, mean, high] of each key]; a missing value is null.
function tabulate(keys, weight) {
  const rows = new Map();
  keys.forEach((key, i) => {
    const points = state.series[key] || [];
    const means = weight > 0 ? smooth(points.map(p => p[2]), weight) : points.map(p => p[2]);
    points.forEach((p, k) => {
      if (!rows.has(p[0])) rows.set(p[0], [p[0], ...keys.map(() => [null, null, null])]);
      if (means[k] !== null) rows.get(p[0])[i + 1] = weight > 0 ? [means[k], means[k], means[k]] : [p[1], p[2], p[3]];
    });
  });
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

function drawChart(name) {
  const box = $(`chart_${name}`), isLoss = LOSSES.includes(name);
  const keys = CHARTS[name].filter(k => (state.series[k] || []).length);
  const weight = isLoss ? Number($('smooth').value) / 100 : 0;
  const data = tabulate(keys, weight);
  if (!data.length || typeof Dygraph === 'undefined') {
    if (state.graphs[name]) { state.graphs[name].destroy(); delete state.graphs[name]; }
    box.className = 'chart empty';
    box.textContent = data.length ? keys.map(k => `${short(k)} ${number(state.series[k].at(-1)[2])}`).join('   ') : 'nothing recorded yet';
    return;
  }
  const options = {
    file: data, labels: ['step', ...keys.map(short)], customBars: true, colors: COLORS,
    logscale: isLoss && $('log').checked, includeZero: name === 'rate' || name === 'time' || name === 'lr' || name === 'swd',
    drawPoints: data.length < 60, pointSize: 2,
  };
  if (state.graphs[name]) {
    state.graphs[name].updateOptions(options);
    return;
  }
  box.className = 'chart';
  box.textContent = '';
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const {file, ...rest} = options;
  state.graphs[name] = new Dygraph(box, file, {
    ...rest, legend: 'always', strokeWidth: 1.5, fillAlpha: 0.16, gridLineColor: dark ? '#313844' : '#e6e9ef',
    axisLineColor: dark ? '#313844' : '#c9cfd9', connectSeparatedPoints: true, highlightCircleSize: 3,
    axes: {y: {axisLabelWidth: 52, pixelsPerLabel: 26, axisLabelFormatter: v => number(v), valueFormatter: v => number(v)},
           x: {axisLabelFormatter: v => Math.round(v).toLocaleString('en'), valueFormatter: v => `step ${v}`}},
    zoomCallback: (from, to) => zoomAll(name, from, to),
  });
}

// All charts show the same steps; a zoom asks for them in full.
let zoomTimer = null;
function zoomAll(from_chart, from, to) {
  const graph = state.graphs[from_chart];
  state.zoom = graph.isZoomed('x') ? [Math.floor(from), Math.ceil(to)] : null;
  for (const [name, g] of Object.entries(state.graphs))
    if (name !== from_chart) g.updateOptions({dateWindow: state.zoom});
  clearTimeout(zoomTimer);
  zoomTimer = setTimeout(() => fetchSeries().then(drawCharts), 150);
}

const drawCharts = () => Object.keys(CHARTS).forEach(drawChart);

async function fetchSeries() {
  const run = state.run, range = state.zoom ? {from: Math.max(0, state.zoom[0]), to: state.zoom[1]} : {};
  const known = Object.values(CHARTS).flat().filter(newest);
  const answers = await Promise.all(known.map(key => ask('/api/metrics', {key, max_points: POINTS, ...range})));
  if (run !== state.run) return;
  state.series = Object.fromEntries(known.map((key, i) => [key, answers[i]]));
}

// ---- samples ----

const shown = () => state.samples.filter(s => s.kind === $('kind').value);

function showSample() {
  const list = shown(), sample = list[Number($('slider').value)];
  $('samples_section').hidden = false;
  if (!sample) return;
  $('sample_step').textContent = `step ${sample.step.toLocaleString('en')}`;
  const url = `/files/${encodeURIComponent(state.run)}/${sample.path.split('/').map(encodeURIComponent).join('/')}`;
  let image = $('sheet').querySelector('img');
  if (!image) {
    image = element('img');
    image.onload = () => image.classList.toggle('small', image.naturalWidth < 640);
    $('sheet').replaceChildren(image);
  }
  image.alt = `${sample.kind} of step ${sample.step}`;
  if (image.getAttribute('src') !== url) image.src = url;
}

function setSamples(samples) {
  state.samples = samples;
  const kinds = [...new Set(samples.map(s => s.kind))].sort((a, b) => (b === 'sheet') - (a === 'sheet') || a.localeCompare(b));
  const before = $('kind').value;
  $('kind').replaceChildren(...kinds.map(k => new Option(k, k)));
  if (kinds.includes(before)) $('kind').value = before;
  $('kind').hidden = kinds.length < 2;
  resetSlider();
}

function resetSlider() {
  const n = shown().length, slider = $('slider');
  slider.max = Math.max(0, n - 1);
  if (state.stick) slider.value = slider.max;
  slider.disabled = n < 2;
  showSample();
}

function stepSample(by) {
  const slider = $('slider');
  slider.value = Number(slider.value) + by;
  state.stick = slider.value === slider.max;
  showSample();
}

function togglePlay() {
  if (state.playing) {
    clearInterval(state.playing);
    state.playing = null;
  } else {
    if ($('slider').value === $('slider').max) $('slider').value = 0;
    state.playing = setInterval(() => {
      stepSample(1);
      if ($('slider').value === $('slider').max) togglePlay();
    }, 500);
  }
  $('play').textContent = state.playing ? 'stop' : 'play';
}

// ---- tables ----

function showProcesses({live, lives}) {
  const rows = new Map();
  for (const l of lives) { // the last life of each
    const id = `${l.process} ${l.instance}`, before = rows.get(id);
    // A life that ended in order and goes on is no restart.
    rows.set(id, {...l, restarts: before ? before.restarts + (before.exit_code !== 0) : 0,
                  peak: Math.max(l.peak_rss_bytes || 0, before ? before.peak : 0)});
  }
  for (const l of live) {
    const id = `${l.process} ${l.instance}`;
    const row = rows.get(id) || {process: l.process, instance: l.instance, restarts: 0, peak: 0};
    if (rows.has(id) || l.alive) rows.set(id, {...row, ...l, live: true});
  }
  const isAlive = r => r.live && r.alive;
  const stateOf = r => isAlive(r) ? r.state : r.exit_code === null || r.exit_code === undefined ? 'gone' : r.exit_code > 128 ? `killed (${r.exit_code - 128})` : r.exit_code ? `failed (${r.exit_code})` : 'ended';
  const badge = r => {
    const text = stateOf(r), late = isAlive(r) && r.beat_ms > 10000;
    return element('span', late ? `${text}, silent ${duration(r.beat_ms / 1000)}` : text, `badge ${late ? 'lost' : /killed|failed/.test(text) ? 'failed' : text}`);
  };
  fillTable($('processes'), [...rows.values()].sort((a, b) => a.process.localeCompare(b.process) || a.instance - b.instance), [
    ['process', r => lives.some(l => l.process === r.process && l.instance > 0) ? `${r.process} ${r.instance}` : r.process],
    ['state', badge], ['step', r => isAlive(r) && r.step ? number(r.step) : '–', {n: 1}],
    ['memory', r => isAlive(r) ? bytes(r.rss_bytes) : '–', {n: 1}], ['peak', r => bytes(Math.max(r.peak, r.rss_bytes || 0)), {n: 1}],
    ['restarts', r => r.restarts, {n: 1, c: r => r.restarts ? 'warn' : ''}], ['pid', r => r.pid, {n: 1}],
    ['unsent', r => r.live ? number(r.unsent) : '–', {n: 1}], ['lost', r => r.live ? number(r.lost) : '–', {n: 1, c: r => r.lost ? 'error' : ''}],
    ['since', r => clock(r.started_us)],
    ['doing', r => isAlive(r) ? r.line : '', {c: () => 'line'}],
  ], 'No process has reported yet.');
  const trainer = live.find(l => l.process === 'trainer' && l.alive);
  $('line').textContent = trainer ? trainer.line : '';
}

function showCuration(rows) {
  const most = Math.max(1, ...rows.map(r => r.pictures));
  fillTable($('curation'), rows, [
    ['domain', r => r.domain], ['verdict', r => r.verdict, {c: r => r.verdict}], ['reason', r => r.reason],
    ['pictures', r => number(r.pictures), {n: 1}],
    ['', r => { const bar = element('span', '', 'bar'); bar.style.width = `${140 * r.pictures / most}px`; return bar; }],
  ], 'No picture has been judged yet.');
}

function showEvents(rows) {
  fillTable($('events'), rows, [
    ['time', e => clock(e.ts_us), {c: () => 't'}], ['level', e => e.level, {c: e => e.level}], ['process', e => e.process],
    ['step', e => e.step ? number(e.step) : '', {n: 1}], ['code', e => e.code], ['message', e => e.message],
  ], 'Nothing has happened yet.');
}

function showValues() {
  fillTable($('values'), state.keys, [
    ['metric', k => k.key], ['step', k => number(k.step), {n: 1}],
    ['value', k => number(k.value, k.special), {n: 1, c: k => k.special ? 'error' : ''}],
  ], 'Nothing has been measured yet.');
}

function fact(name, value) {
  const box = element('div');
  box.append(element('dt', name), element('dd', value));
  return box;
}

function showFacts() {
  const run = state.runs.find(r => r.run === state.run);
  if (!run) return;
  $('status').textContent = run.status;
  $('status').className = `badge ${run.status}`;
  document.title = `${run.run} · cyclegan-pipeline`;
  const tail = key => (state.series[key] || []).slice(-20).map(p => p[2]);
  const sum = list => list.reduce((a, b) => a + b, 0);
  const loss = Object.keys(state.series).find(k => k.startsWith('loss/'));
  const step = loss && newest(loss), epoch = newest('epoch');
  const rates = tail('rate/img_per_s'), steps = sum(tail('time/step_ms')), waits = sum(tail('time/wait_ms'));
  const ab = newest('swd/AtoB'), ba = newest('swd/BtoA');
  $('facts').replaceChildren(
    fact('step', step ? number(step.step) : '–'), fact('epoch', epoch ? number(epoch.value) : '–'),
    fact('pictures / s', rates.length ? number(sum(rates) / rates.length) : '–'),
    fact('waiting for data', steps ? `${(100 * waits / steps).toFixed(1)} %` : '–'),
    fact('distance A→B', number(ab && ab.value)), fact('distance B→A', number(ba && ba.value)),
    ...(run.note ? [fact('note', run.note)] : []),
    fact('device', run.device || '–'), fact('seed', run.seed),
    fact('running for', duration(((run.ended_us || Date.now() * 1000) - run.started_us) / 1e6)),
    fact('version', run.code_version));
}

// ---- keeping up ----

async function refreshTables() {
  state.runs = await ask('/api/runs', {});
  if (!state.run) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    state.run = (state.runs.find(r => r.run === wanted) || state.runs.find(r => r.own) || state.runs[0] || {}).run;
  }
  const names = state.runs.map(r => r.run);
  if ([...$('run').options].map(o => o.value).join('\n') !== names.join('\n'))
    $('run').replaceChildren(...names.map(n => new Option(n, n)));
  $('run').value = state.run;
  const [keys, processes, events, curation, samples] = await Promise.all(
    ['keys', 'processes', 'events', 'curation', 'samples'].map(p => ask(`/api/${p}`, {})));
  state.keys = keys;
  showProcesses(processes);
  showEvents(events);
  showCuration(curation);
  if (JSON.stringify(samples) !== JSON.stringify(state.samples)) setSamples(samples);
  showValues();
}

// The page asks less often when the answers take long: the monitor has better things to do.
let busy = false, again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  const start = performance.now();
  try {
    await refreshTables();
    await fetchSeries();
    drawCharts();
    showFacts();
  } catch (error) {
    console.warn(error);
  }
  const pause = Math.max(1000, 20 * (performance.now() - start));
  setTimeout(() => { busy = false; if (again) { again = false; refresh(); } }, pause);
}

function follow() {
  const events = new EventSource('/events');
  const say = (text, kind) => { $('link').textContent = text; $('link').className = `badge ${kind}`; };
  events.onopen = () => say('live', 'live');
  events.onerror = () => say('monitor gone', 'lost');
  events.addEventListener('change', refresh);
}

$('run').onchange = () => {
  state.run = $('run').value;
  location.hash = encodeURIComponent(state.run);
  state.series = {}; state.samples = []; state.stick = true; state.zoom = null; busy = false;
  $('sheet').replaceChildren(element('p', 'No picture yet.', 'note'));
  $('sample_step').textContent = '';
  for (const g of Object.values(state.graphs)) g.destroy();
  state.graphs = {};
  refresh();
};
const showSmooth = () => { $('smooth_value').textContent = (Number($('smooth').value) / 100).toFixed(2); };
$('smooth').oninput = () => { showSmooth(); LOSSES.forEach(drawChart); };
$('log').onchange = () => LOSSES.forEach(drawChart);
$('kind').onchange = () => { state.stick = true; resetSlider(); };
$('slider').oninput = () => stepSample(0);
$('play').onclick = togglePlay;
$('params_box').ontoggle = async () => fillTable($('params'), await ask('/api/params', {}), [['key', p => p.key], ['value', p => p.value]], 'None.');
document.onkeydown = e => {
  if (e.target.tagName === 'INPUT' || e.target.tagName === 'SELECT') return;
  if (e.key === 'ArrowLeft') stepSample(-1);
  if (e.key === 'ArrowRight') stepSample(1);
};
showSmooth();
refresh();
follow();
