/**
 * Where values come from: a file, the environment and flags, joined into one tree in which the later ones win.
 */
import { type ConfigFile, parseJson } from "./ConfigFile.js"
import { nearest, type Source, type SourceAt } from "./Problems.js"
import { type Setting, settingAt, settings } from "./Settings.js"

/** The values of flags, one for each time that it was given, by the variable that they win over. */
export type Flags = ReadonlyMap<string, ReadonlyArray<string>>

/** The value of a flag that is not repeatable. */
export const flagValue = (flags: Flags, name: string): string | undefined => flags.get(name)?.[0]

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Two names of one thing: the bytes that wait for a client. */
const outboxNames = settings.filter(({ path }) =>
  ["client.queueMaxSize", "limits.outboxBytes"].includes(path.join("."))
)

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

/** What was said of a setting: a flag says one value at a time, commas and all, and a variable all of them. */
const textsOf = ({ list, variable }: Setting, flags: Flags, environment: Environment) => {
  const text = environment[variable]
  return flags.get(variable) ?? (text === undefined ? undefined : list ? text.split(",") : [text])
}

/** The value that texts stand for. What is not of the kind stays a text, which the schema then refuses. */
const fromTexts = ({ kind, placeholder, secret }: Setting, texts: ReadonlyArray<string>): unknown => {
  const [text = ""] = texts
  const trimmed = text.trim()
  switch (kind) {
    case "number":
      return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed
    case "boolean":
      return trimmed === "true" ? true : trimmed === "false" ? false : trimmed
    case "list":
      return texts.map((part) => part.trim())
    default:
      // Many tools cannot put a line break into a variable.
      return placeholder === "PEM" ? trimmed.replaceAll("\\n", "\n") : secret ? text : trimmed
  }
}

const remove = (tree: unknown, path: ReadonlyArray<string>): void => {
  const section = valueAt(tree, path.slice(0, -1))
  const key = path.at(-1)
  if (isTree(section) && key !== undefined) delete section[key]
}

const order: ReadonlyArray<Source["kind"] | undefined> = [undefined, "file", "variable", "flag"]

/** Drops what a later source says by the other name of the same thing. Two of one source are left to `Checks`. */
const dropEarlier = (root: unknown, sources: Map<string, Source>): void => {
  const rank = ({ variable }: Setting) => order.indexOf(sources.get(variable)?.kind)
  const latest = Math.max(...outboxNames.map(rank))
  for (const setting of outboxNames.filter((setting) => rank(setting) < latest)) {
    remove(root, setting.path)
    sources.delete(setting.variable)
  }
}

/**
 * Joins what the three sources say: a flag wins over a variable, and a variable over the file.
 */
export const join = (flags: Flags, environment: Environment, file: ConfigFile | undefined): Given => {
  const sources = new Map<string, Source>()
  const problems = [...file?.problems ?? [], ...unknownVariables(environment)]
  // `null` is not the absence of a value: the schema refuses it.
  const root = file?.value === undefined ? Object.create(null) : copy(file.value)
  for (const setting of settings) {
    const { flag, kind, path, variable } = setting
    const texts = textsOf(setting, flags, environment)
    const label = flags.has(variable) ? flag : variable
    if (texts === undefined) {
      const written = valueAt(root, path)
      if (file !== undefined && written !== undefined) {
        sources.set(variable, { kind: "file", label: file.name, written })
      }
      continue
    }
    const text = texts.join(",")
    sources.set(variable, { kind: flags.has(variable) ? "flag" : "variable", label, written: text })
    const parsed = kind === "json" ? parseJson(label, text) : undefined
    problems.push(...parsed?.problems ?? [])
    if (parsed?.problems.length !== 0 && parsed !== undefined) continue
    if (isTree(root)) place(root, path, parsed === undefined ? fromTexts(setting, texts) : copy(parsed.value))
  }
  dropEarlier(root, sources)
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
