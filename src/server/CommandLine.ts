/**
 * The command line: what is wrong with it, and which command is meant.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { commands, type Flag, flags, type Name } from "./Commands.js"
import { help, program } from "./Help.js"
import { nearest } from "./Problems.js"
import type { Flags } from "./Sources.js"
import { Unusable } from "./Unusable.js"

const levels = ["all", "trace", "debug", "info", "warning", "error", "fatal", "none"]

/** What the library for command lines brings along, and the values of what takes one. */
const builtIns = new Map<string, ReadonlyArray<string>>([
  ["--log-level", levels],
  ["--completions", ["bash", "fish", "zsh", "sh"]],
  ["--wizard", []],
  ["--version", []],
  ["--help", []],
  ["-h", []]
])

const commandOf = (word: string | undefined) => commands.find(({ name }) => name === word)

const wrong = (flag: string, what: string) => Either.left(new Unusable({ message: `${flag}: ${what}` }))

const unknownFlag = (flag: string) => {
  const meant = nearest(flag, [...flags.keys(), ...builtIns.keys()])
  return wrong(
    flag,
    `there is no such option; ${meant === undefined ? `\`${program} --help\` lists all.` : `did you mean ${meant}?`}`
  )
}

const unknownWord = (word: string, named: boolean) => {
  const meant = named ? undefined : nearest(word, commands.map(({ name }) => name))
  return wrong(
    JSON.stringify(word),
    meant === undefined
      ? "unexpected; every option begins with --."
      : `there is no such command; did you mean ${meant}?`
  )
}

const missing = (flag: string, expected: string | undefined) => wrong(flag, `a value must follow (${expected ?? ""}).`)

/** The value of a flag, and whether it is the next argument. A switch has one only if it says true or false. */
const valueOf = (
  { switch: isSwitch }: Pick<Flag, "switch">,
  inline: string | undefined,
  next: string | undefined
): readonly [value: string | undefined, taken: boolean] => {
  if (inline !== undefined) return [inline.trim() === "" ? undefined : inline, false]
  if (isSwitch) return next === "true" || next === "false" ? [next, true] : ["true", false]
  return next === undefined || next.trim() === "" || /^--(?!-)/.test(next) ? [undefined, false] : [next, true]
}

/**
 * Brings arguments into the form that `@effect/cli` reads in full (it has no word for `--flag=`, skips a flag whose value
 * is missing, and wants the command first), and says what it would not: a value that is missing, a flag that is unknown
 * or was given twice.
 */
export const check = (args: ReadonlyArray<string>): Either.Either<ReadonlyArray<string>, Unusable> => {
  const checked: Array<string> = []
  const rest = [...args]
  const seen = new Set<string>()
  let command: Name | undefined
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const [, name, inline] = /^(--[^=]*)=(.*)$/s.exec(argument) ?? [argument, argument]
    const flag = flags.get(name)
    const choices = builtIns.get(name)
    if (flag === undefined && choices === undefined) {
      if (name.startsWith("-")) return unknownFlag(name)
      const word = commandOf(name)
      if (word === undefined || command !== undefined) return unknownWord(argument, command !== undefined)
      command = word.name
      continue
    }
    checked.push(name)
    if (choices?.length === 0) continue
    const [value, taken] = valueOf(flag ?? { switch: false }, inline, rest[0])
    if (value === undefined) {
      return missing(name, flag?.switch === true ? "true or false" : flag?.placeholder ?? choices?.join(", "))
    }
    if (taken) rest.shift()
    if (choices?.includes(value) === false) {
      return wrong(name, `expected one of ${choices.join(", ")}, got ${JSON.stringify(value)}.`)
    }
    if (seen.has(name) && flag?.list !== true) return wrong(name, "given more than once.")
    seen.add(name)
    checked.push(value)
  }
  const meant = commandOf(command) ?? commands[0]
  const foreign = [...seen].find((name) => flags.has(name) && !meant.flags.some(({ flag }) => flag === name))
  if (foreign !== undefined) {
    const owners = commands.filter((command) => command.flags.some(({ flag }) => flag === foreign))
    return wrong(foreign, `not an option of ${meant.name}, but of ${owners.map(({ name }) => name).join(", ")}.`)
  }
  return Either.right(command === undefined ? checked : [command, ...checked])
}

const optionsOf = (flags: ReadonlyArray<Flag>) =>
  Options.all(flags.map(({ flag, help, list }) => {
    const option = Options.withDescription(Options.text(flag.slice(2)), help)
    return list ? Options.repeated(option) : Options.map(Options.optional(option), Option.toArray)
  }))

const toFlags = (flags: ReadonlyArray<Flag>, values: ReadonlyArray<ReadonlyArray<string>>): Flags =>
  new Map(flags.flatMap(({ variable }, index) => {
    const given = values[index] ?? []
    return given.length === 0 ? [] : [[variable, given] as const]
  }))

/** What each command does with its options: those of settings by their variables, its own by their flags. */
export type Actions<E, R> = Readonly<Record<Name, (flags: Flags) => Effect.Effect<void, E, R>>>

/**
 * Runs the command for these arguments (without the program's), unless something else was asked.
 */
export const run = <E, R>(args: ReadonlyArray<string>, version: string, actions: Actions<E, R>) =>
  Effect.gen(function*() {
    const checked = yield* check(args)
    const named = commandOf(checked[0])
    if (checked.includes("--help") || checked.includes("-h")) {
      return yield* Console.log(help(version, named, named === undefined))
    }
    if (checked.includes("--version")) return yield* Console.log(version)
    const [root, ...others] = commands.map(({ flags, name, summary }, index) =>
      Command.withDescription(
        Command.make(index === 0 ? program : name, { options: optionsOf(flags) }, ({ options }) =>
          actions[name](toFlags(flags, options))),
        summary
      )
    )
    const serve = Command.make(
      commands[0].name,
      { options: optionsOf(commands[0].flags) },
      ({ options }) => actions.serve(toFlags(commands[0].flags, options))
    )
    if (root === undefined) return
    const command = Command.withSubcommands(root, [serve, ...others])
    return yield* Command.run(command, { name: program, version })([process.execPath, program, ...checked])
  })
