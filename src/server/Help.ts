/**
 * The texts of `--help`.
 */
import { type Command, commands, type Flag } from "./Commands.js"

/** The name of the program. */
export const program = "effect-ws-hub"

const label = ({ flag, placeholder }: Flag) => placeholder === "" ? flag : `${flag} ${placeholder}`

const column = 34

const line = (left: string, text: string): ReadonlyArray<string> => {
  const one = `  ${left.padEnd(column)}${text}`
  return one.length <= 120 && left.length < column ? [one] : [`  ${left}`, `  ${" ".repeat(column)}${text}`]
}

/** The flag, its meaning and its default; what does not fit into a line goes on in the next. */
const describe = (flag: Flag): ReadonlyArray<string> => line(label(flag), `${flag.help} [${flag.fallback}]`)

const groupsOf = (flags: ReadonlyArray<Flag>): ReadonlyArray<string> =>
  [...new Set(flags.map(({ group }) => group))].flatMap((group) => [
    `${group}:`,
    ...flags.filter((flag) => flag.group === group).flatMap(describe),
    ""
  ])

const other = [
  "Other:",
  ...line("--log-level LEVEL", "trace, debug, info, warning, error, fatal or none [info]"),
  ...line("--completions SHELL", "Prints a completion script for bash, fish or zsh"),
  ...line("--version", "Prints the version"),
  ...line("-h, --help", "Prints this page; after a command, the command's"),
  ""
]

const serves = [
  "What it serves:",
  ...line("/", "A page to try channels with: subscribe, publish, see who is there, recover"),
  ...line("/connection/websocket", "WebSocket: the protocol of Centrifugo and its SDKs, as JSON"),
  ...line("/api/...", "HTTP API for applications; /api/docs describes it. Only with an API key"),
  ...line("/health, /ready", "200 while the process lives; 200 while it takes connections and Redis answers"),
  ...line("/metrics", "Metrics in the Prometheus text format"),
  ""
]

const configuration = [
  "TIME is \"10 seconds\", \"1 minute\" or a number of milliseconds; [ ] holds the default. Each option is also read from",
  "the environment (--message-bytes is HUB_MESSAGE_BYTES; HUB_ALLOWED_ORIGINS, HUB_TRUSTED_PROXIES, HUB_API_KEYS and others",
  "that are repeatable are lists separated by commas, HUB_CHANNELS is JSON) and from the file; a flag wins over a variable,",
  "and a variable over the file. Secrets in flags can be read by other users of the machine: put them into a file or a",
  "variable. Without tokens, channels and API keys it is in development mode: everyone may do everything, and it listens on",
  "this machine only, unless --client-insecure is said. It ends with code 1 if an option or a value is wrong."
]

const stopping =
  "SIGTERM and SIGINT close all connections (3001), then it ends with code 0; a second one ends it at once."

const start = ({ name }: Command) => name === "serve" ? program : `${program} ${name}`

/**
 * The text of `--help`, of the program or of one of its commands.
 */
export const help = (version: string, command: Command = commands[0], whole = true): string =>
  [
    `${program} ${version}: ${whole ? "a WebSocket hub" : command.summary}`,
    "",
    `Usage: ${whole ? `${program} [COMMAND]` : start(command)} [OPTIONS]`,
    "",
    ...(whole ? ["Commands:", ...commands.flatMap(({ name, summary }) => line(name, summary)), ""] : []),
    ...(command.name === "serve" ? serves : []),
    ...groupsOf(command.flags),
    ...other,
    ...(command.name === "gen-config" ? [] : configuration),
    ...(command.name === "serve" ? [stopping] : [])
  ].join("\n")
