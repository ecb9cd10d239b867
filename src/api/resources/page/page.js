
"use strict";

// ---- bounds

const ROWS_MAX = 200;
const DATA_CHARS_MAX = 2000;
const PAGE_CHANGES = 50;
const POLL_MS = 2000;
const ANSWER_MS_MAX = 15000;
const SHOW_MS = 200;
const RETRY_MS = 2000;
const SAMPLES_MAX = 60;
const NAMES_MAX = 500;
const NAME_REQUESTS_MAX = 4;
// A reader so far behind leaves a gap rather than show what is long past.
const LAG_MAX = 5000;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

// ---- JSON as text
//
// JSON.parse would round long numbers and drop doubled members, so that `data`
// is cut out of the text as it stands there.

function stringEnd(text, at) {
  for (at += 1; text[at] !== '"'; at += 1) {
    if (at >= text.length) throw new Error("the answer is cut off");
    if (text[at] === "\\") at += 1;
  }
  return at + 1;
}

function valueEnd(text, at) {
  if (text[at] === '"') return stringEnd(text, at);
  if (text[at] !== "{" && text[at] !== "[") {
    while (at < text.length && !",]} \n\r\t".includes(text[at])) at += 1;
    return at;
  }
  let depth = 0;
  while (at < text.length) {
    const c = text[at];
    if (c === '"') {
      at = stringEnd(text, at);
      continue;
    }
    if (c === "{" || c === "[") depth += 1;
    if (c === "}" || c === "]") depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  throw new Error("the answer is cut off");
}

function spaceEnd(text, at) {
  while (at < text.length && " \n\r\t".includes(text[at])) at += 1;
  return at;
}

/** The members of an object, each as the text of its value. */
function members(text) {
  const found = new Map();
  let at = spaceEnd(text, spaceEnd(text, 0) + 1);
  while (text[at] === '"') {
    const nameEnd = stringEnd(text, at);
    const name = JSON.parse(text.slice(at, nameEnd));
    const start = spaceEnd(text, spaceEnd(text, nameEnd) + 1);
    const end = valueEnd(text, start);
    found.set(name, text.slice(start, end));
    at = spaceEnd(text, end);
    if (text[at] === ",") at = spaceEnd(text, at + 1);
  }
  return found;
}

/** The elements of an array, each as its text. */
function elements(text) {
  const found = [];
  let at = spaceEnd(text, spaceEnd(text, 0) + 1);
  while (at < text.length && text[at] !== "]") {
    const end = valueEnd(text, at);
    found.push(text.slice(at, end));
    at = spaceEnd(text, end);
    if (text[at] === ",") at = spaceEnd(text, at + 1);
  }
  return found;
}

function readChange(text) {
  const parts = members(text);
  const value = (name) => (parts.has(name) ? JSON.parse(parts.get(name)) : undefined);
  return {
    id: parts.get("_id"),
    at: value("_ts"),
    tenant: value("tenant"),
    collection: value("collection"),
    key: value("key"),
    tags: value("tags") ?? [],
    deleted: value("deleted") === true,
    data: parts.get("data"),
  };
}

// ---- asking the node

/** An answer of any status; `problem` says what an error one is about. */
async function request(path, { method = "GET", headers = {} } = {}) {
  try {
    const answer = await fetch(path, {
      method,
      headers: { Accept: "application/json", ...headers },
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    const text = await answer.text();
    return {
      text,
      status: answer.status,
      problem: answer.ok ? null : problemText(answer.status, text),
      last: Number(answer.headers.get("ChangeAgent-Last")),
      history: answer.headers.get("ChangeAgent-Cluster"),
    };
  } catch {
    throw new Error("The node does not answer.");
  }
}

/** The text of a good answer, or an error whose message can be shown. */
async function ask(path) {
  const { text, status, problem } = await request(path);
  if (status === 401 && session.who) await learnWho();
  if (problem) throw new Error(problem);
  return text;
}

function problemText(status, text) {
  try {
    const { title, detail, code } = JSON.parse(text);
    return `${title}: ${detail} (${status} ${code})`;
  } catch {
    return `The node answers with status ${status}.`;
  }
}

// ---- small pieces of the page

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Sets a text only when it changes, so that it is announced once. */
function say(element, text, tone) {
  if (element.textContent !== text) element.textContent = text;
  for (const other of ["good", "warn", "bad"]) element.classList.toggle(other, other === tone);
}

// ---- who one is

/** Who asks, as the node tells it; null until that is known, and where a token must be given first. */
const session = { who: null, text: null, asks: true };

/**
 * Asks who one is. What needs a token is shown once there is one, and the form until then. For another than before
 * the page is loaded anew.
 */
async function learnWho() {
  const { status, text, problem } = await request("/session");
  if (problem && status !== 401) throw new Error(problem);
  session.asks = false;
  const who = problem ? null : JSON.parse(text);
  if (session.who && session.text !== text) {
    startAnew(session.who.by === "anonymous" ? null : whyEnded(session.who, who));
    return who;
  }
  Object.assign(session, { who, text });
  showWho();
  return who;
}

/** Why the session of `former` is no more, now that it is `who`, or nobody. */
function whyEnded({ expires }, who) {
  if (Date.parse(expires) <= Date.now()) return "its time is over.";
  if (who) return "somebody logged out in another window.";
  return "its token was revoked, or somebody logged out in another window.";
}

/** Loads the page anew, so that nothing stays of what was shown. It says then why the session ended, if it is told. */
function startAnew(ended) {
  closeStream();
  document.querySelector("main").hidden = true;
  history.replaceState({ ended }, "");
  location.reload();
}

function tellEnd() {
  const ended = history.state?.ended;
  history.replaceState(null, "");
  if (ended) say(byId("login-state"), `Your session has ended: ${ended}`, "warn");
}

function mayRead() {
  return Boolean(session.who) && session.who.role !== "append";
}

/** Whether what concerns everything, such as the cluster, is answered. */
function mayReadAll() {
  return mayRead() && !ownPath();
}

function showWho() {
  const { who } = session;
  for (const part of document.querySelectorAll(".figures, .columns, footer")) part.hidden = !who;
  for (const part of document.querySelectorAll(".skip, #search, #pause")) part.hidden = !mayRead();
  byId("of-all").hidden = !mayReadAll();
  sayLive();
  const asks = !who || who.by === "anonymous";
  byId("login").hidden = !asks;
  byId("session").hidden = !who || who.by === "anybody";
  byId("leave").hidden = asks;
  if (who) byId("who").textContent = whoText(who);
  else closeStream();
  if (!who && document.hasFocus()) byId("login-form").elements.token.focus();
}

function whoText({ by, name, id, role, scope, expires }) {
  const own = { root: "Root token", jwt: "JWT", token: `Token ${name ?? id}`, anonymous: "Without a token" }[by] ?? by;
  const where = scope.tenant ? `tenant ${scope.tenant}` : scope.collection ? `collection ${scope.collection}` : "everything";
  const end = expires ? `, until ${shortTime(new Date(expires)).replace(/\.\d+$/, "")}` : "";
  return `${own}: ${role}, ${where}${end}`;
}

/** The path of all that concerns who asks. */
function ownPath() {
  const scope = session.who?.scope ?? {};
  if (scope.collection) return `/collections/${scope.collection}`;
  return scope.tenant ? `/tenants/${scope.tenant}` : "";
}

async function logIn(token) {
  if (!/^[!-~]+$/.test(token)) throw new Error("A token has neither spaces nor letters other than those of ASCII.");
  const { problem } = await request("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  if (problem) throw new Error(problem);
  const who = await learnWho();
  if (!who || who.by === "anonymous") {
    throw new Error("The browser keeps no session here: open this page by https, or at 127.0.0.1 on the machine of the node.");
  }
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("login-form").elements.token;
  say(byId("login-state"), "Logging in…");
  try {
    await logIn(field.value.trim());
    field.value = "";
    say(byId("login-state"), "");
    poll();
  } catch (error) {
    say(byId("login-state"), error.message, "bad");
    field.select();
  }
});
byId("leave").addEventListener("click", async () => {
  try {
    const { problem } = await request("/session", { method: "DELETE" });
    if (problem) throw new Error(problem);
    startAnew(null);
  } catch (error) {
    say(byId("state"), error.message, "bad");
  }
});

// ---- names of tenants and collections

const names = new Map();
const wanted = [];
let nameRequests = 0;

function nameOf(kind, uuid, show) {
  const path = `/${kind}s/${uuid}`;
  const known = names.get(path);
  if (typeof known === "string") return show(known);
  if (known) return void known.push(show);
  if (names.size >= NAMES_MAX) names.delete(names.keys().next().value);
  names.set(path, [show]);
  wanted.push(path);
  askNames();
}

async function askNames() {
  if (nameRequests >= NAME_REQUESTS_MAX || wanted.length === 0) return;
  const path = wanted.shift();
  const waiting = names.get(path);
  if (!waiting) return askNames();
  nameRequests += 1;
  try {
    const { name } = JSON.parse(await ask(path));
    if (names.has(path)) names.set(path, String(name));
    waiting.forEach((show) => show(String(name)));
  } catch {
    // Deleted meanwhile, or no answer: the start of the UUID stays.
    waiting.length = 0;
  }
  nameRequests -= 1;
  askNames();
}

// ---- one change as a row

function chip(kind, uuid, search) {
  const button = make("button", "chip", uuid.slice(0, 8));
  button.type = "button";
  button.dataset.what = kind;
  button.title = `${kind} ${uuid}`;
  button.addEventListener("click", () => startSearch(search));
  nameOf(kind, uuid, (name) => (button.textContent = name));
  return button;
}

function row(text) {
  const change = readChange(text);
  const item = make("li");
  const head = make("div", "head");
  const id = make("a", "id", change.id);
  id.href = `/changes/${change.id}`;
  const at = new Date(change.at / 1000);
  const time = make("time", "", shortTime(at));
  time.dateTime = time.title = at.toISOString();
  head.append(id, time);
  if (change.tenant) head.append(chip("tenant", change.tenant, { tenant: change.tenant }));
  if (change.collection) head.append(chip("collection", change.collection, { collection: change.collection }));
  if (change.key !== undefined) head.append(make("bdi", "key", change.key));
  for (const tag of change.tags) {
    const button = make("button", "chip");
    button.type = "button";
    button.dataset.what = "#";
    button.append(make("bdi", "", tag));
    button.addEventListener("click", () => startSearch({ tag }));
    head.append(button);
  }
  if (change.deleted) head.append(make("span", "deleted", "deleted"));
  item.append(head);
  if (change.data !== undefined) item.append(dataOf(change.data));
  return item;
}

function shortTime(at) {
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString("en-CA")} `;
  return `${day}${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

function dataOf(data) {
  const pre = make("pre", "", data.slice(0, DATA_CHARS_MAX));
  if (data.length > DATA_CHARS_MAX) {
    pre.append(make("span", "soft", `… and ${number.format(data.length - DATA_CHARS_MAX)} characters more`));
  }
  return pre;
}

// ---- the changes as they come

const live = { source: null, history: null, seen: 0, newest: 0, pending: [], missed: 0, paused: false, shows: 0, retry: 0 };

function openStream(since) {
  closeStream();
  live.seen = since;
  const source = new EventSource(`${ownPath()}/changes?since=${since}`);
  live.source = source;
  source.onopen = () => sayLive();
  source.onmessage = (event) => {
    live.seen = Number(event.lastEventId);
    live.newest = Math.max(live.newest, live.seen);
    live.pending.push(event.data);
    if (live.pending.length > 2 * ROWS_MAX) live.pending = live.pending.slice(-ROWS_MAX);
    if (live.paused) live.missed += 1;
    showSoon();
  };
  // Where it is, of a list that is quiet or was left for long.
  source.addEventListener("cursor", (event) => (live.seen = Number(event.lastEventId)));
  source.addEventListener("reset", (event) => {
    // What follows is purged: the next poll opens the list where it begins now.
    closeStream();
    const { first, code } = JSON.parse(event.data);
    if (code === "unauthenticated") session.asks = true;
    else live.seen = (first ?? live.newest + 1) - 1;
    sayLive();
  });
  source.onerror = () => {
    sayLive();
    // The browser connects again by itself, except after a refusal.
    if (source.readyState !== EventSource.CLOSED || live.source !== source) return;
    if (session.who?.by !== "anybody") session.asks = true;
    live.retry = setTimeout(() => openStream(live.seen), RETRY_MS);
  };
}

function closeStream() {
  clearTimeout(live.retry);
  live.source?.close();
  live.source = null;
}

function sayLive() {
  const open = live.source?.readyState === EventSource.OPEN;
  if (session.who?.by === "anonymous" && !mayRead()) say(byId("live-state"), "Without a token nothing is shown", "warn");
  else if (session.who && !mayRead()) say(byId("live-state"), "This token may not read", "warn");
  else if (live.paused) say(byId("live-state"), live.missed ? `Paused; ${number.format(live.missed)} since` : "Paused", "warn");
  else if (open) say(byId("live-state"), "Connected", "good");
  else say(byId("live-state"), "Connecting…", "warn");
}

function showSoon() {
  if (!live.shows) live.shows = setTimeout(show, SHOW_MS);
}

function show() {
  live.shows = 0;
  sayLive();
  if (live.paused) return;
  const list = byId("live");
  const texts = live.pending.slice(-ROWS_MAX);
  live.pending = [];
  live.missed = 0;
  // From the top of the list the newest stays in sight; further down, what is
  // being read does.
  const atTop = list.scrollTop < 8;
  list.prepend(...texts.map(row).reverse());
  while (list.children.length > ROWS_MAX) list.lastChild.remove();
  if (atTop) list.scrollTop = 0;
  showNewest();
}

function showNewest() {
  byId("newest").textContent = number.format(live.newest);
}

/** Follows the history that an answer came from. */
function follow({ last, history }) {
  const another = history !== live.history;
  if (another) {
    byId("live").replaceChildren();
    Object.assign(live, { history, newest: 0, pending: [], missed: 0 });
    names.clear();
    samples.length = 0;
    before = null;
    byId("history").textContent = history;
  }
  live.newest = Math.max(live.newest, last);
  showNewest();
  const behind = !live.paused && live.source && live.newest - live.seen > LAG_MAX;
  if (!mayRead()) return;
  if (another || behind || (!live.source && !document.hidden)) {
    // What came while the page was hidden is read again as far as it is shown.
    openStream(Math.max(another || behind ? 0 : live.seen, last - PAGE_CHANGES, 0));
  }
}

byId("pause").addEventListener("click", () => {
  live.paused = !live.paused;
  byId("pause").setAttribute("aria-pressed", String(live.paused));
  byId("pause").textContent = live.paused ? "Go on" : "Pause";
  show();
});

// A page in the background holds none of the few connections that a browser
// has for one host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return closeStream();
  // One may have logged in, or out, in another window.
  if (session.who?.by !== "anybody") session.asks = true;
  poll();
});

// ---- node and cluster

const samples = [];
let before = null;
let polls = 0;

async function poll() {
  clearTimeout(polls);
  if (!document.hidden) {
    await pollReady();
    if (session.who) await pollCluster();
  }
  polls = setTimeout(poll, POLL_MS);
}

async function pollReady() {
  try {
    const answer = await request("/ready");
    if (session.asks) await learnWho();
    say(byId("state"), answer.problem ?? "Ready", answer.problem ? "bad" : "good");
    follow(answer);
    measure(answer);
  } catch (error) {
    say(byId("state"), error.message, "bad");
    before = null;
    byId("rate").textContent = "–";
  }
}

function measure({ last }) {
  const now = { last, at: performance.now() };
  if (before && last >= before.last) {
    const rate = ((last - before.last) * 1000) / (now.at - before.at);
    samples.push(rate);
    if (samples.length > SAMPLES_MAX) samples.shift();
    byId("rate").textContent = rate > 0 && rate < 10 ? rate.toFixed(1) : number.format(Math.round(rate));
    drawRates();
  }
  before = now;
}

function drawRates() {
  const most = Math.max(...samples, 1);
  const step = 120 / (SAMPLES_MAX - 1);
  const start = 120 - step * (samples.length - 1);
  const points = samples.map((rate, n) => `${(start + n * step).toFixed(1)} ${(27 - (25 * rate) / most).toFixed(1)}`);
  byId("chart-line").setAttribute("d", `M${points.join("L")}`);
  byId("chart-area").setAttribute("d", `M${start.toFixed(1)} 28L${points.join("L")}L120 28Z`);
}

async function pollCluster() {
  if (!mayReadAll()) {
    say(byId("cluster"), "Not shown to this token");
    return;
  }
  try {
    showCluster(JSON.parse(await ask("/cluster")));
  } catch (error) {
    say(byId("cluster"), error.message, "bad");
    byId("members").hidden = true;
  }
}

function showCluster(cluster) {
  const own = cluster.members.find(({ id }) => id === cluster.node);
  const does = { leader: "leads", follower: "follows", candidate: "stands for election", learner: "learns" }[cluster.state] ?? cluster.state;
  const node = `Node ${cluster.node}${own ? `, a ${own.role},` : ""} ${does} in term ${cluster.term}`;
  say(byId("cluster"), `${node}${cluster.leader === null ? "; no leader is known" : ""}`, cluster.leader === null ? "warn" : undefined);
  byId("stored").textContent = `${number.format(cluster.committed)} committed, ${number.format(cluster.applied)} applied`;
  const rows = cluster.members.slice(0, ROWS_MAX).map((member) => memberRow(member, cluster));
  replaceRows(byId("members").tBodies[0], rows);
  byId("members").hidden = rows.length === 0;
}

function memberRow(member, cluster) {
  const here = member.id === cluster.node;
  const leads = member.id === cluster.leader;
  const line = make("tr", [here && "here", leads && "leads"].filter(Boolean).join(" "));
  const id = make("th", "", member.id);
  id.scope = "row";
  if (here) id.append(make("span", "soft", " this node"));
  const { matched, lag } = progress(member, cluster);
  const numbers = [lag, matched].map((count) => make("td", "", count === null ? "–" : number.format(count)));
  const isAway = member.reachable === false;
  const texts = [make("td", "", member.role), make("td", isAway ? "bad" : "", leads ? "leader" : member.state)];
  line.append(id, addressOf(member, here), ...texts, ...numbers);
  return line;
}

/** The address, which leads to the page of another member. */
function addressOf(member, here) {
  const cell = make("td");
  if (here) {
    cell.textContent = member.address;
    return cell;
  }
  const link = make("a", "", member.address);
  link.href = "/";
  link.protocol = "http:";
  link.host = member.address;
  link.title = `The page of node ${member.id}`;
  cell.append(link);
  return cell;
}

/** What a member holds and lacks; only the leader learns that of the others. */
function progress({ matched }, { node, leader, committed, members }) {
  const leads = node === leader;
  if (!leads && matched === 0) return { matched: null, lag: null };
  const last = leads ? Math.max(committed, members.find(({ id }) => id === leader)?.matched ?? 0) : committed;
  return { matched, lag: Math.max(last - matched, 0) };
}

/** Shows rows in place of others; a cell that says the same stays, for the focus may be in it. */
function replaceRows(body, rows) {
  rows.forEach((row, n) => {
    const old = body.rows[n];
    if (!old) return body.append(row);
    old.className = row.className;
    [...row.cells].forEach((cell, at) => {
      if (!old.cells[at].isEqualNode(cell)) old.cells[at].replaceWith(cell);
    });
  });
  while (body.rows.length > rows.length) body.lastChild.remove();
}

// ---- search

const form = byId("form");
/** Where pages start: those before the one that is shown, and the next. */
const search = { path: "", kind: "changes", back: [], at: null, next: null, turn: 0 };

function startSearch(fields) {
  form.reset();
  for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
  showKind();
  byId("search").scrollIntoView({ block: "nearest" });
  submit();
}

function showKind() {
  for (const label of form.querySelectorAll("[data-kind]")) label.hidden = label.dataset.kind !== form.elements.kind.value;
}

function scopePath(tenant, collection) {
  const part = encodeURIComponent;
  if (collection && tenant) return `/tenants/${part(tenant)}/collections/${part(collection)}`;
  if (collection && !UUID.test(collection)) throw new Error("A collection's name needs its tenant; its UUID stands alone.");
  if (collection) return `/collections/${collection}`;
  return tenant ? `/tenants/${part(tenant)}` : ownPath();
}

function submit() {
  const value = (name) => form.elements[name].value.trim();
  const kind = value("kind");
  try {
    const scope = scopePath(value("tenant"), value("collection"));
    const query = new URLSearchParams({ limit: PAGE_CHANGES });
    if (kind === "keys") {
      if (!scope.includes("/collections/")) throw new Error("Name the collection whose keys to show.");
      // White space may belong to a key or a tag.
      if (form.elements.prefix.value) query.set("prefix", form.elements.prefix.value);
    } else if (form.elements.tag.value) {
      query.set("tag", form.elements.tag.value);
    }
    Object.assign(search, { kind, path: `${scope}/${kind}?${query}`, back: [] });
    turnTo(kind === "changes" ? value("since") || "0" : null);
  } catch (error) {
    fail(error);
  }
}

/** Shows the page after `at`: an id, or a key; null is the first. */
async function turnTo(at) {
  const turn = (search.turn += 1);
  say(byId("found-state"), "Searching…");
  try {
    const after = search.kind === "changes" ? "since" : "after";
    const text = await ask(at === null ? search.path : `${search.path}&${after}=${encodeURIComponent(at)}`);
    if (turn !== search.turn) return;
    showPage(at, members(text));
  } catch (error) {
    if (turn === search.turn) fail(error);
  }
}

function showPage(at, answer) {
  const keys = search.kind === "keys";
  const texts = elements(answer.get(keys ? "keys" : "changes"));
  const atEnd = answer.get("atEnd") === "true";
  search.at = at;
  search.next = atEnd ? null : keys ? readChange(texts.at(-1)).key : answer.get("last");
  search.earlier = keys ? at !== null : answer.get("atStart") === "false";
  const list = byId("found");
  list.replaceChildren(...texts.map(row));
  list.scrollTop = 0;
  list.hidden = texts.length === 0;
  const what = keys ? "key" : "change";
  const count = texts.length === 1 ? `1 ${what}` : `${texts.length} ${what}s`;
  say(byId("found-state"), `${texts.length ? count : `No ${what} here`}; ${atEnd ? "this is the end" : "there may be more"}`);
  byId("paging").hidden = false;
  byId("older").textContent = keys ? "← Before" : "← Older";
  byId("newer").textContent = keys ? "After →" : "Newer →";
  byId("older").disabled = search.back.length === 0 && !search.earlier;
  byId("newer").disabled = search.next === null;
}

function fail(error) {
  search.turn += 1;
  byId("found").hidden = byId("paging").hidden = true;
  say(byId("found-state"), error.message, "bad");
}

form.addEventListener("change", showKind);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("newer").addEventListener("click", () => {
  search.back.push(search.at);
  if (search.back.length > ROWS_MAX) search.back.shift();
  turnTo(search.next);
});
byId("older").addEventListener("click", () => {
  if (search.back.length > 0) return turnTo(search.back.pop());
  // Nobody paged here from an earlier place: step back by ids.
  turnTo(search.kind === "keys" ? null : String(Math.max(Number(search.at) - PAGE_CHANGES, 0)));
});

showKind();
tellEnd();
poll();
