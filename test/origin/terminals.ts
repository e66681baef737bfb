/** The hub that this project comes from, written with this one: terminal windows, shown to everyone who is connected. */
import { Effect, Option, Schema } from "effect"
import { Coalesce, type Connection, Hub } from "effect-ws-hub"

export interface Output {
  readonly window: string
  readonly text: string
  readonly class: "normal" | "prompt"
  readonly actions: ReadonlyArray<string>
  readonly ids: ReadonlyArray<number>
}

const Input = Schema.parseJson(Schema.Struct({
  type: Schema.Literal("input"),
  window: Schema.NonEmptyString,
  keys: Schema.NonEmptyString
}))

export const windowsMessage = (list: ReadonlyArray<string>): string => JSON.stringify({ type: "windows", list })

export const outputMessage = (output: Output): string => JSON.stringify({ type: "output", ...output })

export const make = Effect.gen(function*() {
  const hub = yield* Hub.Hub
  const inputs: Array<string> = []
  let windows: ReadonlyArray<string> = []

  const coalesce = yield* Coalesce.make<Output>({
    window: "100 millis",
    combine: (earlier, later) => ({
      ...earlier,
      text: earlier.text + later.text,
      ids: [...earlier.ids, ...later.ids]
    }),
    canCombine: (earlier, later) => earlier.class === "normal" && later.class === "normal",
    publish: (_window, output) => hub.broadcast(outputMessage(output))
  })

  return {
    inputs,
    output: (output: Output) => coalesce.offer(output.window, output),
    setWindows: (list: ReadonlyArray<string>) =>
      Effect.suspend(() => {
        windows = list
        return hub.broadcast(windowsMessage(list))
      }),
    greeting: (connection: Connection<unknown>) => Effect.suspend(() => connection.send(windowsMessage(windows))),
    handler: (connection: Connection<unknown>) =>
      connection.runForEach((message) =>
        Option.match(Schema.decodeUnknownOption(Input)(message), {
          onNone: () => connection.send(JSON.stringify({ type: "error", message: "invalid message format" })),
          onSome: ({ keys, window }) => Effect.sync(() => inputs.push(`${window}:${keys}`))
        })
      )
  }
})
