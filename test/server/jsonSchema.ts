/** As much of JSON Schema, draft 07, as `hub.schema.json` uses; a keyword that is not known here is an error. */

type Node = Readonly<Record<string, unknown>>

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const node = (value: unknown): Node => {
  if (!isNode(value)) throw new Error(`Expected an object, got ${JSON.stringify(value)}`)
  return value
}

const list = (value: unknown): ReadonlyArray<unknown> => {
  if (!Array.isArray(value)) throw new Error(`Expected a list, got ${JSON.stringify(value)}`)
  return value
}

const types: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isNode,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  number: (value) => typeof value === "number",
  integer: Number.isInteger
}

const silent = ["$schema", "$defs", "title", "description", "default"]

type Rule = (operand: unknown, value: unknown, schema: Node, root: Node) => boolean

/** Each keyword says nothing about values of other types. */
const rules: Readonly<Record<string, Rule>> = {
  type: (type, value) => types[String(type)]?.(value) ?? false,
  const: (expected, value) => value === expected,
  enum: (expected, value) => list(expected).includes(value),
  pattern: (pattern, value) => typeof value !== "string" || new RegExp(String(pattern), "u").test(value),
  minimum: (least, value) => typeof value !== "number" || value >= Number(least),
  maximum: (most, value) => typeof value !== "number" || value <= Number(most),
  items: (items, value, _, root) => !Array.isArray(value) || value.every((item) => test(node(items), item, root)),
  anyOf: (schemas, value, _, root) => list(schemas).some((schema) => test(node(schema), value, root)),
  allOf: (schemas, value, _, root) => list(schemas).every((schema) => test(node(schema), value, root)),
  required: (keys, value) => !isNode(value) || list(keys).every((key) => Object.hasOwn(value, String(key))),
  properties: (properties, value, _, root) =>
    !isNode(value) ||
    Object.entries(node(properties)).every(([key, schema]) =>
      !Object.hasOwn(value, key) || test(node(schema), value[key], root)
    ),
  patternProperties: (properties, value, _, root) =>
    !isNode(value) ||
    Object.entries(node(properties)).every(([pattern, schema]) =>
      Object.keys(value).every((key) => !new RegExp(pattern, "u").test(key) || test(node(schema), value[key], root))
    ),
  propertyNames: (names, value, _, root) =>
    !isNode(value) || Object.keys(value).every((key) => test(node(names), key, root)),
  additionalProperties: (allowed, value, schema) => {
    if (allowed !== false) throw new Error("Only false is known")
    const patterns = Object.keys(node(schema["patternProperties"] ?? {})).map((pattern) => new RegExp(pattern, "u"))
    return !isNode(value) ||
      Object.keys(value).every((key) =>
        Object.hasOwn(node(schema["properties"] ?? {}), key) || patterns.some((pattern) => pattern.test(key))
      )
  }
}

const test = (schema: Node, value: unknown, root: Node): boolean => {
  const { $ref } = schema
  // Draft 07: what stands beside a reference is ignored.
  if (typeof $ref === "string") {
    return test(
      $ref.slice(2).split("/").reduce<Node>((at, key) => node(at[key]), root),
      value,
      root
    )
  }
  return Object.entries(schema).every(([keyword, operand]) => {
    if (silent.includes(keyword)) return true
    const rule = rules[keyword]
    if (rule === undefined) throw new Error(`The keyword ${keyword} is not known`)
    return rule(operand, value, schema, root)
  })
}

/** Whether a schema takes a value. */
export const accepts = (schema: unknown, value: unknown): boolean => test(node(schema), value, node(schema))
