/**
 * Where values come from: a file, the environment and flags, joined into one tree in which the later ones win.
 */
import { type ConfigFile, parseJson } from "./ConfigFile.js"
import { nearest, type Source, type SourceAt } from "./Problems.js"
import { type Setting, settingAt, settings } from "./Settings.js"

/** The values of flags, by the variable that they win over. */
export type Flags = ReadonlyMap<string, string>

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The file is not a setting: it cannot stand in a file. */
export const fileSetting = { flag: "--config", variable: "HUB_CONFIG" } as const

/**
 * All that was given, with where it came from.
 */
export interface Given {
  readonly value: unknown
  readonly problems: ReadonlyArray<string>
  readonly sourceAt: SourceAt
}

interface Tree {
  [key: string]: unknown
}

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value)

/** Without prototypes, so that no key means anything but itself. */
const copy = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(copy)
  if (!isTree(value)) return value
  const tree: Tree = Object.create(null)
  for (const [key, inner] of Object.entries(value)) tree[key] = copy(inner)
  return tree
}

/**
 * The value at a path.
 */
export const valueAt = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>(
    (at, key) => isTree(at) && typeof key === "string" && Object.hasOwn(at, key) ? at[key] : undefined,
    value
  )

/** What stands in the way (text where a section should be) stays: it is told as wrong. */
const place = (tree: Tree, [first = "", ...rest]: ReadonlyArray<string>, value: unknown): void => {
  if (rest.length === 0) {
    tree[first] = value
    return
  }
  const inner = tree[first] ??= Object.create(null)
  if (isTree(inner)) place(inner, rest, value)
}

/** Variables that Kubernetes sets for services whose name begins with "hub". */
const ofKubernetes = /^HUB_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

const unknownVariables = (environment: Environment): ReadonlyArray<string> => {
  const known = [...settings.map(({ variable }) => variable), fileSetting.variable]
  return Object.keys(environment).filter((name) =>
    name.startsWith("HUB_") && !known.includes(name) && !ofKubernetes.test(name)
  ).map((name) => {
    const meant = nearest(name, known)
    return `${name}: there is no such variable; ${
      meant === undefined ? "`effect-ws-hub --help` lists all." : `did you mean ${meant}?`
    }`
  })
}

/** The value that a text stands for. What is not of the kind stays a text, which the schema then refuses. */
const fromText = ({ kind, placeholder, secret }: Setting, text: string): unknown => {
  const trimmed = text.trim()
  switch (kind) {
    case "number":
      return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed
    case "boolean":
      return trimmed === "true" ? true : trimmed === "false" ? false : trimmed
    case "list":
      return text.split(",").map((part) => part.trim())
    default:
      // Many tools cannot put a line break into a variable.
      return placeholder === "PEM" ? trimmed.replaceAll("\\n", "\n") : secret ? text : trimmed
  }
}

/**
 * Joins what the three sources say: a flag wins over a variable, and a variable over the file.
 */
export const join = (flags: Flags, environment: Environment, file: ConfigFile | undefined): Given => {
  const sources = new Map<string, Source>()
  const problems = [...file?.problems ?? [], ...unknownVariables(environment)]
  const root = copy(file?.value) ?? Object.create(null)
  for (const setting of settings) {
    const { flag, kind, path, variable } = setting
    const given = flags.get(variable) ?? environment[variable]
    const label = flags.has(variable) ? flag : variable
    if (given === undefined) {
      if (file !== undefined && valueAt(root, path) !== undefined) {
        sources.set(variable, { kind: "file", label: file.name })
      }
      continue
    }
    sources.set(variable, { kind: flags.has(variable) ? "flag" : "variable", label, text: given })
    const parsed = kind === "json" ? parseJson(label, given) : undefined
    problems.push(...parsed?.problems ?? [])
    if (parsed?.problems.length !== 0 && parsed !== undefined) continue
    if (isTree(root)) place(root, path, parsed === undefined ? fromText(setting, given) : copy(parsed.value))
  }
  const whole: Source | undefined = file === undefined ? undefined : { kind: "file", label: file.name }
  return {
    value: root,
    problems,
    sourceAt: (path) => {
      const setting = settingAt(path)
      return setting === undefined ? whole : sources.get(setting.variable)
    }
  }
}
