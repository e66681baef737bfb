/**
 * A configuration file: JSON or YAML, as a plain value, or what is wrong with it and where.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { LineCounter, parseDocument } from "yaml"
import { syntaxError } from "./JsonSyntax.js"

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

/**
 * Reads YAML 1.2: one document, without tags of its own.
 */
export const parseYaml = (name: string, text: string): ConfigFile => {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const problems = [...document.errors, ...document.warnings].map(({ message, pos: [start] }) => {
    const { col, line } = lineCounter.linePos(start)
    return `line ${line}, column ${col}: ${message.replace(/\.$/, "")}.`
  })
  if (problems.length > 0) return wrong(name, ...problems)
  try {
    // A file in which everything is a comment configures nothing.
    const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {}
    // An alias may refer to what it is in: that throws here.
    JSON.stringify(value)
    return { name, value, problems: [] }
  } catch (error) {
    return wrong(name, `${error instanceof Error ? error.message : String(error)}.`)
  }
}

const parsers = new Map([["json", parseJson], ["yaml", parseYaml], ["yml", parseYaml]])

/** Why a file cannot be read, for people. */
const reasons = new Map([
  ["NotFound", "there is no such file"],
  ["PermissionDenied", "no permission to read it"],
  ["BadResource", "it is not a file"]
])

/**
 * Reads a file; what is wrong with it is in the result.
 */
export const read = (name: string): Effect.Effect<ConfigFile, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const parse = parsers.get(/\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? "")
    if (parse === undefined) return wrong(name, "expected a name that ends in .json, .yaml or .yml.")
    const files = yield* FileSystem.FileSystem
    return yield* files.readFileString(name).pipe(
      Effect.map((text) => parse(name, text.replace(/^\uFEFF/, ""))),
      Effect.catchAll((error) =>
        Effect.succeed(
          wrong(name, `${(error._tag === "SystemError" ? reasons.get(error.reason) : undefined) ?? error.message}.`)
        )
      )
    )
  })
