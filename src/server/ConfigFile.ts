/**
 * A configuration file: JSON or YAML, as a plain value, or what is wrong with it and where.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type ErrorCode, LineCounter, parseDocument, visit } from "yaml"
import { syntaxError } from "./JsonSyntax.js"
import { settings } from "./Settings.js"

/**
 * A file as it was read. With problems its value is not to be used.
 */
export interface ConfigFile {
  readonly name: string
  readonly value: unknown
  readonly problems: ReadonlyArray<string>
}

const wrong = (name: string, ...problems: ReadonlyArray<string>): ConfigFile => ({
  name,
  value: undefined,
  problems: problems.map((problem) => `${name}: ${problem}`)
})

/** Where an offset is in a text, for people: both count from 1. */
const position = (text: string, offset: number): string => {
  const lines = text.slice(0, offset).split(/\r\n|\r|\n/)
  return `line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1}`
}

/**
 * Reads JSON. `JSON.parse` does not tell in all versions of Node where it failed, and takes the last of equal keys.
 */
export const parseJson = (name: string, text: string): ConfigFile => {
  const error = syntaxError(text)
  return error === undefined
    ? { name, value: JSON.parse(text), problems: [] }
    : wrong(name, `${position(text, error.offset)}: ${error.message}.`)
}

/** Of these the library's own words quote the text, which may be a secret, or are for programmers. */
const quoting: Readonly<Partial<Record<ErrorCode, string>>> = {
  BAD_COLLECTION_TYPE: "a tag that has no meaning here; a text that begins with ! must be in quotes",
  BAD_DIRECTIVE: "a directive that has no meaning here; a text that begins with % must be in quotes",
  BAD_DQ_ESCAPE: "an escape that YAML does not have; in single quotes a backslash stands for itself",
  MULTIPLE_DOCS: "a second document begins here; a configuration is one document, so take the line --- out",
  BAD_SCALAR_START: "a text that begins with this character must be in quotes",
  RESOURCE_EXHAUSTION: "too deep",
  TAG_RESOLVE_FAILED: "a tag that has no meaning here; a text that begins with ! must be in quotes",
  UNEXPECTED_TOKEN: "something that cannot stand here; a text that begins with a special character must be in quotes"
}

/** Where the first alias stands that has no anchor. */
const unresolved = (document: ReturnType<typeof parseDocument>): number | undefined => {
  let found: number | undefined
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) !== undefined) return undefined
      found = alias.range?.[0]
      return visit.BREAK
    }
  })
  return found
}

/**
 * The sections that may stand in YAML without anything in them. Not that of Sentinels: their addresses, indented too
 * little, would be those of Redis.
 */
const mayBeEmpty = new Set(
  settings.flatMap(({ path }) => path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join(".")))
    .filter((section) => section !== "broker.sentinel")
)

/** Without sections in which everything is a comment: they configure nothing. */
const withoutEmpty = (value: unknown, path: ReadonlyArray<string> = []): unknown =>
  typeof value !== "object" || value === null || Array.isArray(value)
    ? value
    : Object.fromEntries(
      Object.entries(value).flatMap(([key, inner]) => {
        const at = [...path, key]
        if (!mayBeEmpty.has(at.join("."))) return [[key, inner]]
        return inner === null ? [] : [[key, withoutEmpty(inner, at)]]
      })
    )

/**
 * Reads YAML 1.2: one document, without tags of its own.
 */
export const parseYaml = (name: string, text: string): ConfigFile => {
  const lineCounter = new LineCounter()
  // A warning of its own, on stderr, would quote a key that is no text; the schema refuses such a key.
  const document = parseDocument(text, { lineCounter, prettyErrors: false, logLevel: "error" })
  const at = (offset: number, message: string) => {
    const { col, line } = lineCounter.linePos(offset)
    return `line ${line}, column ${col}: ${message.replace(/\.$/, "")}.`
  }
  const problems = [...document.errors, ...document.warnings].map(({ code, message, pos: [start] }) =>
    at(start, quoting[code] ?? message)
  )
  if (problems.length > 0) return wrong(name, ...problems)
  try {
    // A file in which everything is a comment configures nothing.
    const value = withoutEmpty(document.toJS({ maxAliasCount: 100 })) ?? {}
    // An alias may refer to what it is in: that throws here.
    JSON.stringify(value)
    return { name, value, problems: [] }
  } catch {
    // What was thrown quotes names.
    const offset = unresolved(document)
    return wrong(
      name,
      offset === undefined
        ? "an alias refers to what it is in, or there are too many."
        : at(offset, "an alias without an anchor before it; a text that begins with * must be in quotes")
    )
  }
}

const parsers = new Map([["json", parseJson], ["yaml", parseYaml], ["yml", parseYaml]])

/** Why a file cannot be read, for people. */
const reasons = new Map([
  ["NotFound", "there is no such file"],
  ["PermissionDenied", "no permission to read it"]
])

/** What is there instead of a file, for people. */
const kinds = new Map([["Directory", "a directory"], ["FIFO", "a pipe"], ["Socket", "a socket"]])

/** Bytes that are not UTF-8 are not replaced: a secret would be another one. The mark at the beginning is left out. */
const decode = (name: string, bytes: Uint8Array): Either.Either<string, ConfigFile> =>
  Either.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => wrong(name, "it is not in UTF-8, as a configuration must be. Save it in this encoding.")
  })

/**
 * Reads a file; what is wrong with it is in the result. What is no regular file is not opened: a pipe might never end.
 */
export const read = (name: string): Effect.Effect<ConfigFile, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const parse = parsers.get(/\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? "")
    if (parse === undefined) return wrong(name, "expected a name that ends in .json, .yaml or .yml.")
    const files = yield* FileSystem.FileSystem
    const { type } = yield* files.stat(name)
    if (type !== "File") {
      return wrong(
        name,
        `expected a regular file, got ${kinds.get(type) ?? "a device"}. Put the configuration into a file.`
      )
    }
    return Either.match(decode(name, yield* files.readFile(name)), {
      onLeft: (problem) => problem,
      onRight: (text) => parse(name, text)
    })
  }).pipe(
    Effect.catchAll((error) =>
      Effect.succeed(
        wrong(name, `${(error._tag === "SystemError" ? reasons.get(error.reason) : undefined) ?? error.message}.`)
      )
    )
  )
