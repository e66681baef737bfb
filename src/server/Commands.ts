/**
 * The commands and the options that they take: one table, for the command line, its help and its completions.
 */
import { settings } from "./Settings.js"
import { fileSetting } from "./Sources.js"

/**
 * An option of the command line.
 */
export interface Flag {
  readonly flag: string
  /** Under which its value is passed on: a variable, if there is one for it. */
  readonly variable: string
  readonly group: string
  readonly placeholder: string
  readonly help: string
  readonly fallback: string
  readonly list: boolean
  /** May stand without a value, which is then `true`. */
  readonly switch: boolean
}

/** The names of the commands. */
export type Name = "serve" | "gen-token" | "check-config" | "gen-config"

/**
 * One command.
 */
export interface Command {
  readonly name: Name
  readonly summary: string
  readonly flags: ReadonlyArray<Flag>
}

const own = (flag: string, placeholder: string, help: string, fallback: string, list = false): Flag => ({
  flag,
  variable: flag,
  group: "Token",
  placeholder,
  help,
  fallback,
  list,
  switch: false
})

const file: Flag = {
  ...own(fileSetting.flag, "FILE", "Configuration file: .json, .yaml or .yml", "none"),
  variable: fileSetting.variable,
  group: "Configuration"
}

const ofSettings: ReadonlyArray<Flag> = [
  file,
  ...settings.map((setting) => ({ ...setting, switch: setting.kind === "boolean" }))
]

/**
 * All commands; the first one is meant when none is named.
 */
export const commands: readonly [Command, ...ReadonlyArray<Command>] = [
  { name: "serve", summary: "Starts the hub (also without this word)", flags: ofSettings },
  {
    name: "gen-token",
    summary: "Prints a token for a client, signed with client.token.hmacSecret",
    flags: [
      own("--user", "ID", "Who the client is", "an anonymous user"),
      own("--ttl", "TIME", "How long the token is valid; 0 for ever", "1 hour"),
      own("--channels", "NAME", "Channel that the client is subscribed to when it connects (repeatable)", "none", true),
      own("--channel", "NAME", "Makes it a token for a subscription to this channel", "none"),
      ...ofSettings
    ]
  },
  {
    name: "check-config",
    summary: "Says what is wrong with the configuration, or shows it without its secrets",
    flags: ofSettings
  },
  {
    name: "gen-config",
    summary: "Prints a configuration to begin with, with new secrets",
    flags: [{ ...own("--format", "yaml|json", "What to print", "yaml"), group: "Format" }]
  }
]

/**
 * All options, each once.
 */
export const flags: ReadonlyMap<string, Flag> = new Map(
  commands.flatMap((command) => command.flags.map((flag) => [flag.flag, flag] as const))
)
