#!/usr/bin/env node
/**
 * The command `effect-ws-hub`.
 */
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { readFileSync } from "node:fs"
import * as CommandLine from "./CommandLine.js"
import * as Server from "./Server.js"
import { describeOption, type Flags, load, Unusable } from "./ServerConfig.js"

/** The version in the package's own `package.json`, which is at the same place beside `src` and `dist`. */
const version = Effect.sync(() => {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown"
})

const start = (flags: Flags) =>
  Effect.flatMap(load(flags, process.env), (config) =>
    Layer.launch(Server.layer(config)).pipe(
      Effect.catchTags({
        ServeError: ({ cause }) => new Unusable({ message: Server.cannotListen(cause, config) }),
        InvalidOption: (error) => new Unusable({ message: describeOption(error, flags) })
      })
    ))

const complain = (message: string) =>
  Effect.sync(() => process.stderr.write(message.split("\n").map((line) => `effect-ws-hub: ${line}\n`).join("")))

const main = Effect.flatMap(version, (version) => CommandLine.run(process.argv.slice(2), version, start)).pipe(
  Effect.tapErrorCause((cause) => {
    const failure = Cause.failureOption(cause)
    if (failure._tag === "None") return Cause.isInterruptedOnly(cause) ? Effect.void : Effect.logFatal(cause)
    // What the library for command lines finds wrong, it has said itself.
    return ValidationError.isValidationError(failure.value) ? Effect.void : complain(failure.value.message)
  }),
  Effect.provide(NodeContext.layer),
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
)

NodeRuntime.runMain(main, { disableErrorReporting: true, disablePrettyLogger: true })
