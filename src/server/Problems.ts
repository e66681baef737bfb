/**
 * What is wrong with a configuration, in the words of who wrote it: where it is, what was expected, what is there.
 */
import * as AutoCorrect from "@effect/cli/AutoCorrect"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Arr from "effect/Array"
import type * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as AST from "effect/SchemaAST"
import { expectedOf } from "../channels/Namespace.js"
import type { InvalidOption } from "../core/HubError.js"
import { present, settingAt, settings } from "./Settings.js"

type Path = ReadonlyArray<PropertyKey>

/**
 * Where the value of a setting came from: what to call it, and what was written there.
 */
export interface Source {
  readonly kind: "file" | "variable" | "flag"
  readonly label: string
  readonly written?: unknown
}

/** Of what is at a path; nothing for a setting that was not given. */
export type SourceAt = (path: Path) => Source | undefined

/** Where an option of the library is configured. */
export type Where = (option: string) => Path

const distance = (a: string, b: string) =>
  AutoCorrect.levensteinDistance(a.toLowerCase(), b.toLowerCase(), CliConfig.defaultConfig)

const wordsOf = (name: string): ReadonlyArray<string> =>
  name.replace(/[A-Z](?=[a-z])/g, " $&").toLowerCase().split(/[^a-z0-9]+/).filter((word) => word !== "")

const isWithin = (few: ReadonlyArray<string>, many: ReadonlyArray<string>) => few.every((word) => many.includes(word))

/** The only one with all the words, or whose words are all there: `HUB_TOKEN_HMAC_SECRET` leaves out `CLIENT`. */
const sameWords = (name: string, known: ReadonlyArray<string>): string | undefined => {
  const given = wordsOf(name)
  const found = known.filter((other) => isWithin(given, wordsOf(other)) || isWithin(wordsOf(other), given))
  return found.length === 1 ? found[0] : undefined
}

/**
 * The one of these names that was probably meant.
 */
export const nearest = (word: string, known: ReadonlyArray<string>): string | undefined => {
  const best = known.reduce<string | undefined>(
    (best, other) => best === undefined || distance(word, other) < distance(word, best) ? other : best,
    undefined
  )
  return best !== undefined && distance(word, best) <= Math.min(3, Math.ceil(word.length / 3))
    ? best
    : sameWords(word, known)
}

const words = (alternatives: ReadonlyArray<string>) =>
  alternatives.length < 2
    ? alternatives.join("")
    : `${alternatives.slice(0, -1).join(", ")} or ${alternatives.at(-1) ?? ""}`

const expectedAt = (path: Path, ast: AST.AST): string => {
  const setting = settingAt(path)
  if (setting !== undefined && (path.length === setting.path.length || setting.list)) return setting.expected
  const option = path[0] === "channels" ? path[path[1] === "namespaces" ? 3 : 2] : undefined
  return expectedOf(String(option)) ?? (AST.isStringKeyword(present(ast)) ? "a text" : "an object")
}

/** A problem, without its source. */
export interface Problem {
  readonly path: Path
  readonly message: string
}

const shorten = (text: string) => text.length > 80 ? `${text.slice(0, 80)}...` : text

const shown = (actual: unknown): string => shorten(JSON.stringify(actual) ?? "nothing")

/** Whether a path is that of a section in which there are secrets: what stands in its place may be one. */
const hasSecrets = (path: Path): boolean =>
  settings.some((setting) => setting.secret && path.every((key, index) => key === setting.path[index]))

const kindOf = (actual: unknown): string => {
  if (typeof actual === "string") return "a text"
  if (typeof actual === "number") return "a number"
  if (Array.isArray(actual)) return "a list"
  return typeof actual === "object" && actual !== null ? "an object" : shown(actual)
}

/** Of a secret only the kind is told. YAML takes digits without quotes for a number, and `true` for no text either. */
const gotOfSecret = (actual: unknown, isText: boolean): string => {
  if (actual === null) return "null"
  const unquoted = typeof actual === "number" || typeof actual === "boolean"
  const kind = typeof actual === "string" || Redacted.isRedacted(actual)
    ? "something else"
    : typeof actual === "boolean"
    ? "true or false"
    : kindOf(actual)
  return `${kind} (it is not shown)${unquoted && isText ? ": put it in quotes" : ""}`
}

/** What is at a path, as it was written; secrets, and what may be one, are not shown. */
const gotAt = (path: Path, actual: unknown, sourceAt: SourceAt): string => {
  const setting = settingAt(path)
  if (setting === undefined && hasSecrets(path)) return kindOf(actual)
  const exact = setting?.path.length === path.length
  const source = exact ? sourceAt(path) : undefined
  if (Redacted.isRedacted(actual) || (setting?.secret === true && actual !== undefined)) {
    return gotOfSecret(actual, setting?.list !== true || !exact)
  }
  // The library has its own default in milliseconds.
  const isDefault = exact && source === undefined && setting.placeholder.startsWith("TIME")
  return isDefault && typeof actual === "number"
    ? `the default of ${actual / 1000} seconds`
    : shown(source?.written ?? actual)
}

const unknownKey = (path: Path, ast: AST.AST): string => {
  const key = String(path.at(-1))
  if (!AST.isTypeLiteral(ast)) return "there is no such key."
  if (ast.indexSignatures.length > 0) {
    return "the name of a namespace has two or more letters, digits, hyphens and underscores, and is not __proto__."
  }
  const known = ast.propertySignatures.map(({ name }) => String(name))
  const plain = key.replace(/[-_]/g, "")
  const elsewhere = settings.find((setting) => distance(setting.path.at(-1) ?? "", plain) === 0)?.path.join(".")
  const meant = nearest(plain, known) ?? elsewhere ?? nearest(plain, settings.map(({ path }) => path.at(-1) ?? ""))
  return `there is no such key; ${meant === undefined ? `there are ${words(known)}.` : `did you mean ${meant}?`}`
}

/** The parts of a value in which something is wrong, each with what it is. */
const parts = (
  issue: ParseResult.ParseIssue,
  path: Path,
  parent: AST.AST,
  sourceAt: SourceAt
): ReadonlyArray<Problem> => {
  const here = (ast: AST.AST, actual: unknown): ReadonlyArray<Problem> => [
    { path, message: `expected ${expectedAt(path, ast)}, got ${gotAt(path, actual, sourceAt)}.` }
  ]
  switch (issue._tag) {
    case "Pointer": {
      return parts(issue.issue, [...path, ...Arr.ensure(issue.path)], parent, sourceAt)
    }
    case "Unexpected":
      return [{ path, message: unknownKey(path, parent) }]
    case "Missing":
      return [{ path, message: "it is missing." }]
    case "Composite": {
      const inner = present(issue.ast)
      const issues = Arr.ensure(issue.issues)
      if (!AST.isUnion(issue.ast)) return issues.flatMap((part) => parts(part, path, issue.ast, sourceAt))
      const only = AST.isUnion(inner) ? undefined : issues.find((part) => "ast" in part && part.ast === inner)
      return only === undefined ? here(issue.ast, issue.actual) : parts(only, path, inner, sourceAt)
    }
    case "Refinement":
    case "Transformation":
      return issue._tag === "Refinement" && issue.kind === "Predicate"
        ? here(issue.ast, issue.actual)
        : parts(issue.issue, path, issue.ast, sourceAt)
    case "Type":
    case "Forbidden":
      return here("ast" in issue ? issue.ast : parent, issue.actual)
  }
}

/**
 * How to call what is at a path, as who wrote it knows it.
 */
export const nameAt = (path: Path, sourceAt: SourceAt): string => {
  const source = sourceAt(path)
  const setting = settingAt(path)
  if (source === undefined) return setting?.variable ?? path.join(".")
  const rest = source.kind === "file" ? path : path.slice(setting?.path.length ?? 0)
  const list = source.kind !== "file" && setting?.list === true
  return rest.length === 0 || list ? source.label : `${source.label}: ${rest.map(String).join(".")}`
}

/** Another option, in a sentence: in the file by its path. */
export const mention = (path: Path, sourceAt: SourceAt): string | undefined =>
  settingAt(path)?.path.length !== path.length
    ? undefined
    : sourceAt(path)?.kind === "file"
    ? path.join(".")
    : nameAt(path, sourceAt)

/**
 * What is wrong with an option of the library, by the names under which the user knows it and those that it speaks of.
 */
export const ofOption = ({ actual, expected, key }: InvalidOption, where: Where, sourceAt: SourceAt): string => {
  const path = where(key)
  const inWords = expected.replace(
    /\b[a-z]+[0-9]*(?:[A-Z][a-z]+)+\b/g,
    (word) => mention(where(word), sourceAt) ?? word
  )
  return `${nameAt(path, sourceAt)}: expected ${inWords}, got ${gotAt(path, actual, sourceAt)}.`
}

/**
 * All that a schema finds wrong, a line each.
 */
export const lines = (
  error: ParseResult.ParseError,
  root: AST.AST,
  sourceAt: SourceAt
): ReadonlyArray<string> => [
  ...new Set(
    parts(error.issue, [], root, sourceAt).map(({ message, path }) => `${nameAt(path, sourceAt)}: ${message}`)
  )
]
