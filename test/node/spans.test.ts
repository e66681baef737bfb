/** What a tracer sees of a handshake. */
import { assert, describe, it } from "@effect/vitest"
import { NodeUpgrade } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import { recordSpans } from "../spans.js"
import { connect, refused, serve, serveGuard } from "./support.js"

const no = new NodeUpgrade.Refused({ status: 401, message: "Who are you?" })

const options = {
  authorize: ({ url = "" }: { readonly url?: string | undefined }) =>
    Effect.zipRight(Effect.annotateCurrentSpan("asked", url), url === "/ws?let-in" ? Effect.void : Effect.fail(no)),
  handler: () => Effect.never
}

describe("spans: an authorisation is NodeUpgrade.authorize, with its outcome", () => {
  for (
    const [name, server] of [
      ["as a route", () => serve(NodeUpgrade.layer("/ws", options))],
      ["straight at the guarded server", () => serveGuard(NodeUpgrade.layerGuard("/ws", options))]
    ] as const
  ) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        const { spans, tracer } = recordSpans()
        const { url } = yield* Effect.withTracer(server(), tracer)
        yield* connect(url("/ws?let-in"))
        assert.strictEqual((yield* refused(url("/ws"))).status, 401)
        assert.deepStrictEqual(
          spans.filter((span) => span.name === "NodeUpgrade.authorize").map(({ attributes, status }) => [
            attributes.get("asked"),
            status._tag === "Ended" ? status.exit._tag : "goes on"
          ]),
          [["/ws?let-in", "Success"], ["/ws", "Failure"]]
        )
      }))
  }
})
