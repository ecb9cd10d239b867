
"use strict";
// Shows /openapi.json. All that it holds becomes text: nothing of it is ever read as markup.
const at = (id) => document.getElementById(id);

/** An element with those properties and children; a string is text. */
function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** A line of text with `code` in it. */
function words(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}

/** Paragraphs and lists, as the descriptions have them. */
function prose(text) {
  return (text ?? "").split("\n\n").filter(Boolean).map((block) => {
    if (!block.startsWith("- ")) return make("p", {}, words(block));
    return make("ul", {}, block.split("\n").map((line) => make("li", {}, words(line.slice(2)))));
  });
}

let api;

/** What a `$ref` stands for; what stands beside it wins. */
function whole(value) {
  if (value?.$ref === undefined) return value;
  const { $ref, ...beside } = value;
  const target = $ref.slice(2).split("/").reduce((inner, step) => inner[step], api);
  return { ...whole(target), ...beside };
}

const nameOf = (value) => /^#\/components\/schemas\/(.*)$/.exec(value?.$ref ?? "")?.[1];

/** What values a schema takes, in a few words; named schemas are links. */
function form(schema) {
  const name = nameOf(schema);
  if (name) return [make("a", { href: `#schema-${name}` }, name)];
  const among = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (among) return among.flatMap((one, place) => [...(place ? [" or "] : []), ...form(one)]);
  if (schema.const !== undefined) return [make("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((one, place) => [...(place ? [", "] : []), make("code", {}, String(one))]);
  if (schema.items) return ["array of ", ...form(schema.items)];
  const type = [schema.type ?? "any JSON"].flat().join(" or ");
  return [schema.format ? `${type} (${schema.format})` : type];
}

/** The bounds of a schema, where it has some. */
function bounds(schema) {
  const said = ["default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"];
  const found = said.filter((word) => schema[word] !== undefined);
  if (found.length === 0) return null;
  return make("p", { className: "soft" }, found.map((word) => `${word} ${schema[word]}`).join(", "));
}

function entry(name, note, schema, description) {
  const under = note ? make("span", { className: "soft" }, note) : null;
  return [
    make("dt", {}, name, under),
    make("dd", {}, make("span", {}, form(schema)), prose(description ?? whole(schema).description), bounds(schema)),
  ];
}

function members(schema) {
  const required = schema.required ?? [];
  const rows = Object.entries(schema.properties ?? {}).flatMap(([name, inner]) =>
    entry(name, required.includes(name) ? "always" : "", inner));
  return rows.length ? make("dl", {}, rows) : null;
}

function example(title, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  // It may be wider or higher than its place: with the keyboard, too, all of it can be read.
  return make("details", {}, make("summary", {}, title), make("pre", { tabIndex: 0 }, text));
}

/** A body of a request or an answer: its forms, each with its examples. */
function content(body) {
  return Object.entries(body.content ?? {}).flatMap(([type, media]) => [
    make("p", {}, make("code", {}, type), " ", form(media.schema ?? {})),
    nameOf(media.schema) || !media.schema ? null : members(media.schema),
    media.schema?.description ? prose(media.schema.description) : null,
    media.example === undefined ? null : example("Example", media.example),
    Object.entries(media.examples ?? {}).map(([name, one]) => example(`Example: ${name}`, whole(one).value)),
  ].flat());
}

function parameters(all) {
  if (all.length === 0) return [];
  const rows = all.map(whole).flatMap((one) =>
    entry(one.name, one.required ? `${one.in}, required` : one.in, one.schema, one.description));
  return [make("h4", {}, "Parameters"), make("dl", {}, rows)];
}

function answers(responses) {
  const part = ([status, response]) => {
    const { description, content: body, headers } = whole(response);
    const names = Object.keys(headers ?? {}).join(", ");
    return [
      make("dt", {}, status),
      make("dd", {}, prose(description), names ? make("p", { className: "soft" }, `Headers: ${names}`) : null, content({ content: body })),
    ];
  };
  const [good, bad] = [[], []];
  for (const one of Object.entries(responses)) (one[0] < "400" ? good : bad).push(one);
  const errors = make("details", {}, make("summary", {}, `Errors: ${bad.map(([status]) => status).join(", ")}`),
    make("dl", {}, bad.flatMap(part)));
  return [make("h4", {}, "Answers"), make("dl", {}, good.flatMap(part)), bad.length ? errors : null];
}

function operation(method, path, found, shared) {
  const body = found.requestBody && whole(found.requestBody);
  return make("article", { className: "card", id: found.operationId },
    make("h3", {}, make("a", { href: `#${found.operationId}` }, make("span", { className: "method" }, method.toUpperCase()), ` ${path}`)),
    make("p", { className: "summary" }, words(found.summary)),
    prose(found.description),
    parameters([...shared, ...(found.parameters ?? [])]),
    body ? [make("h4", {}, "Body"), prose(body.description), content(body)].flat() : [],
    answers(found.responses));
}

function schemaCard([name, schema]) {
  const list = members(schema);
  return make("article", { className: "card", id: `schema-${name}` },
    make("h3", {}, make("a", { href: `#schema-${name}` }, name)),
    prose(schema.description), list ?? make("p", {}, form(schema)), list ? null : bounds(schema));
}

/** A part of the page with its place in the contents. */
function part(title, text, cards) {
  at("main").append(make("section", {}, make("h2", {}, title), text, cards));
  // A long path breaks at its slashes.
  const broken = (text) => text.split("/").flatMap((step, place) => (place ? [make("wbr"), `/${step}`] : [step]));
  const lines = cards.map((card) => make("li", {}, make("a", { href: `#${card.id}` }, broken(card.querySelector("h3").textContent))));
  at("contents").append(make("section", {}, make("h2", {}, title), make("ul", {}, lines)));
}

function show() {
  at("version").textContent = `Version ${api.info.version}`;
  at("main").append(make("section", {}, make("h2", {}, "All of it"), make("article", { className: "card", id: "all" }, prose(api.info.description))));
  for (const tag of api.tags) {
    const cards = Object.entries(api.paths).flatMap(([path, item]) => Object.entries(item)
      .filter(([, found]) => found.tags?.includes(tag.name))
      .map(([method, found]) => operation(method, path, found, item.parameters ?? [])));
    part(tag.name[0].toUpperCase() + tag.name.slice(1), prose(tag.description), cards);
  }
  part("Schemas", [], Object.entries(api.components.schemas).map(schemaCard));
}

/** Shows what has all the words that were typed. */
function filter() {
  const wanted = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const line of at("contents").querySelectorAll("li")) {
    const card = at(line.firstChild.hash.slice(1));
    const text = card.textContent.toLowerCase();
    line.hidden = card.hidden = !wanted.every((word) => text.includes(word));
    count += line.hidden ? 0 : 1;
  }
  for (const section of document.querySelectorAll("#contents section, main section")) {
    const all = [...section.querySelectorAll("li, article")].filter((one) => one.matches("#contents li, article"));
    section.hidden = all.length > 0 && all.every((one) => one.hidden);
  }
  at("all").hidden = wanted.length > 0;
  at("all").parentElement.hidden = wanted.length > 0;
  at("state").textContent = wanted.length ? `${count} of ${at("contents").querySelectorAll("li").length}` : "";
}

async function start() {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`${answer.status} ${(await answer.json()).detail}`);
    api = await answer.json();
  } catch (problem) {
    at("state").textContent = `The document cannot be read: ${problem.message}`;
    return;
  }
  show();
  filter();
  at("filter").addEventListener("input", filter);
  // What the address names was not there when the page was loaded.
  at(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

start();
