/**
 * What is wrong with a configuration, in the words of who wrote it: where it is, what was expected, what is there.
 */
import * as AutoCorrect from "@effect/cli/AutoCorrect"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Arr from "effect/Array"
import type * as ParseResult from "effect/ParseResult"
import * as AST from "effect/SchemaAST"
import { present, settingAt, settings } from "./Settings.js"

type Path = ReadonlyArray<PropertyKey>

/**
 * Where the value of a setting came from: what to call it, and the text that was there, if it was a text.
 */
export interface Source {
  readonly kind: "file" | "variable" | "flag"
  readonly label: string
  readonly text?: string | undefined
}

const distance = (a: string, b: string) =>
  AutoCorrect.levensteinDistance(a.toLowerCase(), b.toLowerCase(), CliConfig.defaultConfig)

/**
 * The one of these words that was probably meant.
 */
export const nearest = (word: string, known: ReadonlyArray<string>): string | undefined => {
  const best = known.reduce<string | undefined>(
    (best, other) => best === undefined || distance(word, other) < distance(word, best) ? other : best,
    undefined
  )
  return best !== undefined && distance(word, best) <= Math.min(3, Math.ceil(word.length / 3)) ? best : undefined
}

const words = (alternatives: ReadonlyArray<string>) =>
  alternatives.length < 2
    ? alternatives.join("")
    : `${alternatives.slice(0, -1).join(", ")} or ${alternatives.at(-1) ?? ""}`

/** What a schema expects, for what is no setting of its own. */
const expectedBy = (ast: AST.AST): string => {
  switch (ast._tag) {
    case "Literal":
      return String(ast.literal)
    case "BooleanKeyword":
      return "true or false"
    case "NumberKeyword":
      return "a number"
    case "StringKeyword":
      return "a text"
    case "TupleType":
      return "a list"
    case "TypeLiteral":
      return "an object"
    case "Transformation":
      return expectedBy(ast.from)
    case "Union": {
      const inner = present(ast)
      return AST.isUnion(inner) ? words([...new Set(inner.types.map(expectedBy))]) : expectedBy(inner)
    }
    case "Refinement":
      return expectedBy(ast.from) === "a number" ? "a whole number, 0 or above" : expectedBy(ast.from)
    default:
      return "something else"
  }
}

const expectedAt = (path: Path, ast: AST.AST): string => {
  const setting = settingAt(path)
  const inside = setting !== undefined && path.length > setting.path.length
  if (setting !== undefined && (!inside || setting.list)) return setting.expected
  if (["historyTtl", "historyMetaTtl", "coalesceWindow"].includes(String(path.at(-1)))) {
    return "a duration such as \"5 minutes\" or a number of milliseconds"
  }
  return path.at(-1) === "channelRegex" ? "a regular expression" : expectedBy(ast)
}

/** A problem, without its source. */
export interface Problem {
  readonly path: Path
  readonly message: string
}

const shorten = (text: string) => text.length > 80 ? `${text.slice(0, 80)}...` : text

const shown = (actual: unknown): string => shorten(JSON.stringify(actual) ?? String(actual))

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
  sourceAt: (path: Path) => Source | undefined
): ReadonlyArray<Problem> => {
  const here = (ast: AST.AST, actual: unknown): ReadonlyArray<Problem> => {
    const setting = settingAt(path)
    const text = setting?.path.length === path.length ? sourceAt(path)?.text : undefined
    const got = setting?.secret === true ? "something else (it is not shown)" : shown(text ?? actual)
    return [{ path, message: `expected ${expectedAt(path, ast)}, got ${got}.` }]
  }
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
export const nameAt = (path: Path, sourceAt: (path: Path) => Source | undefined): string => {
  const source = sourceAt(path)
  const setting = settingAt(path)
  if (source === undefined) return setting?.variable ?? path.join(".")
  const rest = source.kind === "file" ? path : path.slice(setting?.path.length ?? 0)
  const list = source.kind !== "file" && setting?.list === true
  return rest.length === 0 || list ? source.label : `${source.label}: ${rest.map(String).join(".")}`
}

/**
 * All that a schema finds wrong, a line each.
 */
export const lines = (
  error: ParseResult.ParseError,
  root: AST.AST,
  sourceAt: (path: Path) => Source | undefined
): ReadonlyArray<string> => [
  ...new Set(
    parts(error.issue, [], root, sourceAt).map(({ message, path }) => `${nameAt(path, sourceAt)}: ${message}`)
  )
]
