/**
 * The settings of the command, each with its path in a file, its flag, its variable and its line of help: one table for
 * all of them, read from the schema.
 */
import * as AST from "effect/SchemaAST"
import { Configuration } from "./Configuration.js"
import { type About, aboutOf, dashed } from "./Leaf.js"

/**
 * One setting.
 */
export interface Setting extends Omit<About, "flag"> {
  readonly path: ReadonlyArray<string>
  readonly flag: string
  readonly variable: string
  /** Whether the flag may be repeated, and the variable is a list separated by commas. */
  readonly list: boolean
}

/** Sections that are not part of the names of variables and flags. */
const silent = ["http", "limits"]

const setting = (path: ReadonlyArray<string>, about: About): Setting => {
  const named = silent.includes(path[0] ?? "") ? path.slice(1) : path
  const words = named.map(dashed).join("-")
  return {
    ...about,
    path,
    flag: about.flag ?? `--${words}`,
    variable: `HUB_${words.replaceAll("-", "_").toUpperCase()}`,
    list: about.kind === "list"
  }
}

/**
 * What may be given, without the absence of it.
 */
export const present = (ast: AST.AST): AST.AST =>
  AST.isUnion(ast) ? AST.Union.make(ast.types.filter((member) => !AST.isUndefinedKeyword(member))) : ast

const read = (ast: AST.AST, path: ReadonlyArray<string>): ReadonlyArray<Setting> => {
  const about = aboutOf(ast)
  if (about !== undefined) return [setting(path, about)]
  return AST.isTypeLiteral(ast)
    ? ast.propertySignatures.flatMap(({ name, type }) => read(present(type), [...path, String(name)]))
    : []
}

/**
 * All settings, in the order of the help.
 */
export const settings: ReadonlyArray<Setting> = read(Configuration.ast, [])

/**
 * The setting at a path, or that a path leads into.
 */
export const settingAt = (path: ReadonlyArray<PropertyKey>): Setting | undefined =>
  settings.find((setting) => setting.path.every((key, index) => key === path[index]))
