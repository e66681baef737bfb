/**
 * The command line: its flags, its help, and what is wrong with it.
 */
import * as AutoCorrect from "@effect/cli/AutoCorrect"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { type Flags, Unusable } from "./ServerConfig.js"
import { settings } from "./Settings.js"

const name = "effect-ws-hub"

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

const byFlag = new Map(settings.map((setting) => [setting.flag, setting]))

const wrong = (flag: string, what: string) => Either.left(new Unusable({ message: `${flag}: ${what}` }))

const suggestion = (flag: string): string => {
  const known = [...byFlag.keys(), ...builtIns.keys()]
  const distance = (other: string) => AutoCorrect.levensteinDistance(flag, other, CliConfig.defaultConfig)
  const nearest = known.reduce((best, other) => distance(other) < distance(best) ? other : best)
  return distance(nearest) <= 3 ? `did you mean ${nearest}?` : `\`${name} --help\` lists all.`
}

/**
 * Brings arguments into the form that `@effect/cli` reads in full (it has no word for `--flag=` and skips a flag whose
 * value is missing), and says what it would not: a value that is missing, a flag that is unknown or was given twice.
 */
export const check = (args: ReadonlyArray<string>): Either.Either<ReadonlyArray<string>, Unusable> => {
  const checked: Array<string> = []
  const rest = [...args]
  const seen = new Set<string>()
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const [, flag, inline] = /^(--[^=]*)=(.*)$/s.exec(argument) ?? [argument, argument]
    const setting = byFlag.get(flag)
    const choices = builtIns.get(flag)
    if (setting === undefined && choices === undefined) {
      return flag.startsWith("-")
        ? wrong(flag, `there is no such option; ${suggestion(flag)}`)
        : wrong(JSON.stringify(flag), "unexpected; every option begins with --.")
    }
    checked.push(flag)
    if (choices?.length === 0) continue
    const value = inline ?? rest.shift()
    if (value === undefined || value.trim() === "" || value.startsWith("--")) {
      return wrong(flag, `a value must follow (${setting?.placeholder ?? choices?.join(", ")}).`)
    }
    if (choices?.includes(value) === false) {
      return wrong(flag, `expected one of ${choices.join(", ")}, got ${JSON.stringify(value)}.`)
    }
    if (seen.has(flag) && setting?.list !== true) return wrong(flag, "given more than once.")
    seen.add(flag)
    checked.push(value)
  }
  return Either.right(checked)
}

const width = (texts: ReadonlyArray<string>) => Math.max(...texts.map((text) => text.length))

/**
 * The text of `--help`.
 */
export const help = (version: string): string => {
  const names = settings.map(({ flag, placeholder }) => `${flag} ${placeholder}`)
  const line = (left: string, text: string) => `  ${left.padEnd(width(names) + 2)}${text}`
  const groups = [...new Set(settings.map(({ group }) => group))].map((group) => [
    `${group}:`,
    ...settings.filter((setting) => setting.group === group).map(({ fallback, flag, help, placeholder }) =>
      line(`${flag} ${placeholder}`, `${help} [${fallback}]`)
    ),
    ""
  ])
  return [
    `${name} ${version}: a WebSocket hub`,
    "",
    `Usage: ${name} [OPTIONS]`,
    "",
    "What it serves:",
    line("/", "A page to chat in a room, for two browser tabs"),
    line("/rooms/:room", "WebSocket: each message goes to everyone in the room, the sender included"),
    line("/stats/:room", "WebSocket: tells the number of connections in the room when it changes"),
    line("/echo", "WebSocket: each message comes back"),
    line("/health, /ready", "200 while the process lives; 200 while it takes connections, else 503"),
    line("/metrics", "Metrics in the Prometheus text format"),
    "",
    ...groups.flat(),
    "Other:",
    line("--log-level LEVEL", "trace, debug, info, warning, error, fatal or none [info]"),
    line("--completions SHELL", "Prints a completion script for bash, fish or zsh"),
    line("--version", "Prints the version"),
    line("-h, --help", "Prints this page"),
    "",
    "TIME is \"10 seconds\", \"1 minute\" or a number of milliseconds; [ ] holds the default. Each option is also read from",
    "the environment (--message-bytes is HUB_MESSAGE_BYTES), and the flag wins. HUB_ALLOWED_ORIGINS and HUB_TRUSTED_PROXIES",
    "are lists separated by commas. SIGTERM and SIGINT close all connections (1001), then it ends with code 0; a second one",
    "ends it at once. It ends with code 1 if an option or a value is wrong."
  ].join("\n")
}

const options = Options.all(settings.map(({ flag, list }) => {
  const option = Options.text(flag.slice(2))
  return list ? Options.repeated(option) : Options.map(Options.optional(option), Option.toArray)
}))

const toFlags = (values: ReadonlyArray<ReadonlyArray<string>>): Flags =>
  new Map(settings.flatMap(({ variable }, index) => {
    const given = values[index] ?? []
    return given.length === 0 ? [] : [[variable, given.join(",")] as const]
  }))

/**
 * Runs the command for these arguments (without the program's): `start` with its flags, unless something else was asked.
 */
export const run = <E, R>(
  args: ReadonlyArray<string>,
  version: string,
  start: (flags: Flags) => Effect.Effect<void, E, R>
) =>
  Effect.gen(function*() {
    const checked = yield* check(args)
    if (checked.includes("--help") || checked.includes("-h")) return yield* Console.log(help(version))
    if (checked.includes("--version")) return yield* Console.log(version)
    const command = Command.make(name, { options }, ({ options }) => start(toFlags(options)))
    return yield* Command.run(command, { name, version })([process.execPath, name, ...checked])
  })
