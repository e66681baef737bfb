/**
 * The schema of a configuration file, for editors.
 */
import * as JSONSchema from "effect/JSONSchema"
import { Configuration } from "./Configuration.js"
import { durationPattern } from "./Leaf.js"

type Node = Record<string, unknown>

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const typeOf = (value: unknown) => isNode(value) && !("enum" in value) ? value["type"] : undefined

/** A number or a text is a duration: the schema of namespaces checks the text by a function, which no editor knows. */
const isDuration = ({ anyOf }: Node): boolean =>
  Array.isArray(anyOf) && anyOf.length === 2 && typeOf(anyOf[0]) === "number" && typeOf(anyOf[1]) === "string"

/** Of a number or a text; the rest as it is. Draft 07 knows no keywords beside a reference: a simple one is replaced. */
const refine = (value: unknown, simple: Node): unknown => {
  if (Array.isArray(value)) return value.map((inner) => refine(inner, simple))
  if (!isNode(value)) return value
  const { $ref, ...others } = value
  const target = typeof $ref === "string" ? simple[$ref.slice(prefix.length)] : undefined
  // `Schema.Int` is of safe integers.
  if (isNode(target)) {
    return { ...target, ...others, ...(typeOf(others) === "integer" ? { maximum: Number.MAX_SAFE_INTEGER } : {}) }
  }
  const node = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, refine(inner, simple)]))
  if (!isDuration(node)) return node
  const [number, text] = node["anyOf"] as ReadonlyArray<Node>
  return { ...node, anyOf: [number, { ...text, pattern: durationPattern }] }
}

const prefix = "#/$defs/"

/**
 * The schema, as the text of the file `hub.schema.json` in the package.
 */
export const text = (): string => {
  const { $defs = {}, ...schema } = JSONSchema.make(Configuration)
  const entries: ReadonlyArray<readonly [string, unknown]> = Object.entries($defs)
  const simple = Object.fromEntries(entries.filter(([, definition]) => typeOf(definition) === "number"))
  const others = Object.fromEntries(entries.filter(([name]) => !(name in simple)))
  return `${JSON.stringify(refine({ ...schema, $defs: others }, simple), null, 2)}\n`
}
