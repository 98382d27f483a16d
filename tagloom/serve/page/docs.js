// What /openapi.json says, to be read: FastAPI's own page would be loaded from elsewhere.

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function table(head, rows) {
  const cells = (kind, row) => element("tr", "", ...row.map((text) => element(kind, text)));
  return element("table", "", element("thead", "", cells("th", head)), element("tbody", "", ...rows.map((row) => cells("td", row))));
}

const resolve = (schema) => (schema.$ref ? openapi.components.schemas[schema.$ref.split("/").at(-1)] : schema);

function type(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(type).join(" or ");
  if (schema.type === "array") return `list of ${type(schema.items)}`;
  if (schema.additionalProperties?.type) return `${schema.additionalProperties.type} by name`;
  return schema.contentMediaType ?? schema.type ?? "anything";
}

function properties(schema) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, each]) => [
    name, type(each) + (required.includes(name) ? "" : ", may be missing"), each.description ?? "",
  ]);
}

function example(path, method, fields) {
  if (method !== "post") return `curl ${location.origin}${path}`;
  const values = { photos: "@photo.jpg", captions: '"two dogs on a beach"', threshold: "0.5", label: "dog" };
  return `curl ${fields.map((name) => `-F ${name}=${values[name]}`).join(" ")} ${location.origin}${path}`;
}

function route(path, method, spec) {
  const form = spec.requestBody?.content["multipart/form-data"].schema;
  const parts = [element("h2", `${method.toUpperCase()} ${path}`), element("p", spec.summary)];
  if (spec.description) parts.push(element("p", spec.description.replaceAll("`", "")));
  parts.push(element("pre", example(path, method, Object.keys(form?.properties ?? {}))));
  if (form) parts.push(table(["field", "is", ""], properties(form)));
  parts.push(table(["answer", "is", ""], Object.entries(spec.responses).map(([status, each]) => {
    const [kind, content] = Object.entries(each.content ?? {})[0] ?? ["", {}];
    return [status, content.schema?.$ref ? type(content.schema) : kind, each.description];
  })));
  return element("article", "", ...parts);
}

const openapi = await (await fetch("/openapi.json")).json();
const main = document.querySelector("main");
for (const [path, methods] of Object.entries(openapi.paths))
  for (const [method, spec] of Object.entries(methods)) main.append(route(path, method, spec));
for (const [name, schema] of Object.entries(openapi.components.schemas))
  main.append(element("article", "", element("h2", name), element("p", resolve(schema).description ?? ""), table(["field", "is", ""], properties(schema))));
