#!/usr/bin/env node
/**
 * The command `effect-ws-hub`.
 */
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { readFileSync } from "node:fs"
import * as CommandLine from "./CommandLine.js"
import * as GenConfig from "./GenConfig.js"
import * as GenToken from "./GenToken.js"
import * as Server from "./Server.js"
import { loadAll } from "./ServerConfig.js"
import type { Flags } from "./Sources.js"
import * as Summary from "./Summary.js"
import { Unusable } from "./Unusable.js"

/** The version in the package's own `package.json`, which is at the same place beside `src` and `dist`. */
const version = Effect.sync(() => {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown"
})

const serve = (version: string) => (flags: Flags) =>
  Effect.flatMap(
    loadAll(flags, process.env),
    ({ config }) =>
      Layer.launch(Server.layer(config, version)).pipe(
        Effect.catchTags({
          ServeError: ({ cause }) => new Unusable({ message: Server.cannotListen(cause, config) }),
          InvalidOption: ({ message }) => new Unusable({ message })
        })
      )
  )

const actions = (version: string) => ({
  serve: serve(version),
  "gen-token": (flags: Flags) =>
    loadAll(flags, process.env).pipe(
      Effect.flatMap(({ config }) => GenToken.token(config.client, flags)),
      Effect.flatMap(Console.log)
    ),
  "check-config": (flags: Flags) =>
    Effect.flatMap(loadAll(flags, process.env), (loaded) => Console.log(Summary.lines(loaded).join("\n"))),
  "gen-config": (flags: Flags) => Effect.flatMap(GenConfig.config(flags), (text) => Console.log(text.trimEnd()))
} satisfies CommandLine.Actions<Unusable, FileSystem.FileSystem>)

const complain = (message: string) =>
  Effect.sync(() => process.stderr.write(message.split("\n").map((line) => `effect-ws-hub: ${line}\n`).join("")))

const main = Effect.flatMap(version, (version) => CommandLine.run(process.argv.slice(2), version, actions(version)))
  .pipe(
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
