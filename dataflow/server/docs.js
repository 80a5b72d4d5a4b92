"use strict";
// Renders /openapi.json: every operation with its parameters and a form to try it.

function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return make("a", { href: "#" + name, textContent: name });
  }
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return make("span", {}, ...schema.anyOf.flatMap((one) => [typeOf(one), " "]));
  if (schema.type === "array") return make("span", {}, "list of ", typeOf(schema.items));
  if (schema.additionalProperties) {
    return make("span", {}, "map to ", typeOf(schema.additionalProperties));
  }
  return schema.format || schema.type || "";
}

function row(name, schema, description) {
  return make("tr", {},
    make("td", {}, make("code", { textContent: name })),
    make("td", {}, typeOf(schema)),
    make("td", { textContent: description || "" }));
}

function operation(path, verb, stated) {
  const inputs = {};
  const table = make("table");
  for (const parameter of stated.parameters || []) {
    const input = make("input", { placeholder: parameter.in });
    inputs[parameter.name] = { input, parameter };
    const line = row(parameter.name, parameter.schema, parameter.description);
    line.append(make("td", {}, input));
    table.append(line);
  }
  const parts = [table];
  let body = null;
  if (stated.requestBody) {
    body = make("textarea", { value: "{}" });
    const schema = stated.requestBody.content["application/json"].schema;
    parts.push(make("p", {}, "Body: ", typeOf(schema)), body);
  }
  const result = make("pre", { hidden: true });
  const button = make("button", { textContent: "Send" });
  button.addEventListener("click", () => send(path, verb, inputs, body, result));
  parts.push(make("p", {}, button), result);
  return make("details", {},
    make("summary", {},
      make("span", { className: "verb", textContent: verb.toUpperCase() }),
      make("code", { textContent: path }), " ", stated.summary || ""),
    ...parts);
}

async function send(path, verb, inputs, body, result) {
  const query = new URLSearchParams();
  const headers = body ? { "content-type": "application/json" } : {};
  for (const [name, { input, parameter }] of Object.entries(inputs)) {
    if (parameter.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (!input.value) continue;
    else if (parameter.in === "query") query.append(name, input.value);
    else headers[name] = input.value;
  }
  const address = query.size ? `${path}?${query}` : path;
  result.hidden = false;
  try {
    const answer = await fetch(address, { method: verb.toUpperCase(), headers, body: body?.value });
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON: as it is */ }
    result.textContent = `${answer.status} ${answer.statusText}\n\n${shown}`;
  } catch (error) {
    result.textContent = String(error);
  }
}

async function main() {
  const stated = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = stated.info.description;
  const operations = document.getElementById("operations");
  for (const [path, verbs] of Object.entries(stated.paths)) {
    for (const [verb, one] of Object.entries(verbs)) operations.append(operation(path, verb, one));
  }
  const messages = document.getElementById("messages");
  for (const [name, schema] of Object.entries(stated.components.schemas)) {
    const table = make("table");
    for (const [field, one] of Object.entries(schema.properties || {})) {
      table.append(row(field, one, one.description));
    }
    messages.append(make("details", { id: name },
      make("summary", {}, make("code", { textContent: name }), " ", schema.description || ""),
      table));
  }
  addEventListener("hashchange", () => {
    const chosen = document.getElementById(location.hash.slice(1));
    if (chosen) chosen.open = true;
  });
}

main();
