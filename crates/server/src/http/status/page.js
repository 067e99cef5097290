'use strict';

// Reads /status.json, shows it, and keeps the history of the charts in this tab. Whatever the server says is set as
// text, never as markup.

const EVERY_MS = 2000;
const KEPT = 150;
const HISTORY = 'aldis-status-history';
const SVG = 'http://www.w3.org/2000/svg';

const byId = (id) => document.getElementById(id);
const say = (id, text) => { byId(id).textContent = text; };

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const shape = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

const count = (value) => value.toLocaleString('en');
const rate = (value) => (value >= 100 ? count(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(value === 0 ? 0 : 2));

const bytes = (value) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
};

const duration = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
};

// The history: one sample for each answer, of one run of the server.

let history = [];

const recall = () => {
  try {
    const kept = JSON.parse(sessionStorage.getItem(HISTORY));
    if (Array.isArray(kept)) history = kept;
  } catch {
    history = [];
  }
};

const remember = (status) => {
  const last = history[history.length - 1];
  const started = status.nodes[0].started_at;
  if (last && (last.started !== started || status.now_ms < last.at)) history = [];
  history.push({
    at: status.now_ms,
    started,
    connected: status.sessions.connected,
    counters: status.counters,
  });
  history = history.slice(-KEPT);
  try {
    sessionStorage.setItem(HISTORY, JSON.stringify(history));
  } catch {
    // Without storage the charts begin with the page.
  }
};

const between = (value) => history.slice(1).map((sample, index) => value(history[index], sample));

const perSecond = (name) => between((before, after) => {
  const seconds = (after.at - before.at) / 1000;
  return seconds > 0 ? Math.max(0, after.counters[name] - before.counters[name]) / seconds : 0;
});

const commitMs = () => between((before, after) => {
  const commits = after.counters.commits - before.counters.commits;
  return commits > 0 ? (after.counters.commit_us - before.counters.commit_us) / commits / 1000 : null;
});

// Charts.

const WIDTH = 300;
const HEIGHT = 56;
// A chart that has just begun grows from the right.
const LEAST_SHOWN = 15;

const draw = (id, values) => {
  const chart = byId(id);
  chart.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  chart.setAttribute('preserveAspectRatio', 'none');
  const known = values.filter((value) => value !== null);
  if (known.length < 2) {
    chart.replaceChildren();
    return;
  }
  const top = Math.max(...known) || 1;
  let latest = known[0];
  const step = WIDTH / (Math.max(values.length, LEAST_SHOWN) - 1);
  const points = values.map((value, index) => {
    latest = value ?? latest;
    const x = WIDTH - (values.length - 1 - index) * step;
    return `${x.toFixed(1)} ${(HEIGHT - 3 - (latest / top) * (HEIGHT - 12)).toFixed(1)}`;
  });
  const first = points[0].split(' ')[0];
  chart.replaceChildren(
    shape('path', { class: 'area', d: `M${points.join('L')}L${WIDTH} ${HEIGHT}L${first} ${HEIGHT}Z` }),
    shape('path', { class: 'line', d: `M${points.join('L')}` }),
  );
};

const newest = (values) => values.findLast((value) => value !== null);

const showTiles = (status) => {
  const { sessions, counters } = status;
  const messages = perSecond('messages');
  const refused = perSecond('refusals');
  const commits = commitMs();
  say('connected', count(sessions.connected));
  say('away', sessions.away === 0 ? 'none away' : `${count(sessions.away)} away`);
  say('messages', messages.length > 0 ? rate(newest(messages)) : '–');
  say('messages-total', `${count(counters.messages)} in all`);
  const commit = newest(commits);
  say('commit', commit === undefined ? '–' : rate(commit));
  say('appends', counters.commits === 0 ? 'none yet' : `${count(counters.appends)} writes in ${count(counters.commits)}`);
  say('refused', refused.length > 0 ? rate(newest(refused)) : '–');
  say('refused-total', `${count(counters.refusals)} in all`);
  draw('chart-connected', history.map((sample) => sample.connected));
  draw('chart-messages', messages);
  draw('chart-commit', commits);
  draw('chart-refused', refused);
};

// The rest of the page.

const meter = (part) => {
  const bar = shape('svg', { class: 'meter', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const used = Math.min(100, part.share * 100);
  bar.append(
    shape('rect', { class: 'rail', width: 100, height: 4, rx: 2 }),
    shape('rect', { class: `used ${part.state}`, width: used, height: 4, rx: 2 }),
  );
  return bar;
};

const WORDS = { ok: 'well', attention: 'needs attention', failing: 'failing' };

const showParts = (parts) => {
  byId('parts').replaceChildren(...parts.map((part) => {
    const row = element('li');
    const dot = element('span', `dot ${part.state}`);
    dot.setAttribute('role', 'img');
    dot.setAttribute('aria-label', WORDS[part.state]);
    row.append(dot, element('span', '', part.name), element('span', 'detail', part.detail));
    if (part.share !== null) row.append(meter(part));
    return row;
  }));
};

const showOverall = (status) => {
  const draining = status.nodes.some((node) => node.state !== 'serving');
  const states = status.parts.map((part) => part.state);
  const worst = states.includes('failing') ? 'failing' : draining || states.includes('attention') ? 'attention' : 'ok';
  const words = { ok: 'All well', attention: draining ? 'Draining' : 'Needs attention', failing: 'Failing' };
  const pill = byId('overall');
  pill.className = `pill ${worst}`;
  if (pill.textContent !== words[worst]) pill.textContent = words[worst];
};

const showNodes = (status) => {
  byId('nodes').replaceChildren(...status.nodes.map((node) => {
    const row = element('li');
    row.append(
      element('span', `dot ${node.state === 'serving' ? 'ok' : 'attention'}`),
      element('span', 'code', node.address),
      element('span', 'detail', `${node.state} for ${duration(status.now_ms / 1000 - node.started_at)}`),
    );
    return row;
  }));
};

const showProcess = (status) => {
  const { process } = status;
  const first = history[0];
  const pairs = [
    ['Memory', bytes(process.resident_bytes)],
    ['Processor time', duration(process.cpu_seconds)],
    ['Open files', count(process.open_files)],
    ['Held for slow readers', bytes(status.sessions.held_bytes)],
    ['Connections accepted', count(status.counters.connections)],
    ['Handshakes', count(status.counters.handshakes)],
    ['Database errors', count(status.counters.store_errors)],
  ];
  byId('process').replaceChildren(...pairs.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]));
  say('updated', `Read at ${new Date(status.now_ms).toLocaleTimeString()}; charts since ${new Date(first.at).toLocaleTimeString()}`);
};

const cells = (className, ...all) => {
  const row = element('tr', className);
  row.append(...all);
  return row;
};

const showRefusals = (status) => {
  const { refusals } = status;
  byId('no-refusals').hidden = refusals.length > 0;
  byId('refusals').hidden = refusals.length === 0;
  byId('refusals').tBodies[0].replaceChildren(...refusals.slice(0, 12).map((refusal) => cells(
    '',
    element('td', 'code', refusal.code),
    element('td', 'code', refusal.door),
    element('td', 'number', count(refusal.count)),
    element('td', 'number', `${duration((status.now_ms - refusal.last_ms) / 1000)} ago`),
  )));
};

const showSettings = (status) => {
  byId('warnings').replaceChildren(...status.warnings.map((warning) => element('li', '', warning)));
  byId('settings').tBodies[0].replaceChildren(...status.settings.map((setting) => cells(
    setting.source === 'default' ? 'is-default' : '',
    element('td', 'code', setting.name),
    setting.value === null || setting.value === ''
      ? element('td', 'unset', setting.value === null ? 'not set' : 'empty')
      : element('td', 'code', setting.value),
    element('td', 'quiet', setting.source),
  )));
};

const show = (status) => {
  remember(status);
  say('name', status.name);
  say('version', `Aldis ${status.version}`);
  document.title = `${status.name} – status`;
  showOverall(status);
  showTiles(status);
  showParts(status.parts);
  showNodes(status);
  showProcess(status);
  showRefusals(status);
  showSettings(status);
};

const refresh = async () => {
  try {
    const answer = await fetch('status.json', { cache: 'no-store', signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    document.body.classList.remove('stale');
  } catch {
    document.body.classList.add('stale');
    const pill = byId('overall');
    pill.className = 'pill failing';
    pill.textContent = 'No answer';
  }
  setTimeout(refresh, EVERY_MS);
};

recall();
refresh();
