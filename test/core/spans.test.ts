/** What a tracer sees of a hub. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { Hub } from "effect-ws-hub"
import { HubTest, TestTransport } from "effect-ws-hub/testing"
import { recordSpans } from "../spans.js"

describe("spans", () => {
  for (
    const [how, end] of [
      ["drains", (hub: Hub.Hub["Type"]) => hub.drain],
      ["closes", (_: Hub.Hub["Type"], scope: Scope.CloseableScope) => Scope.close(scope, Exit.void)]
    ] as const
  ) {
    it.effect(`a hub that ${how}: Hub.drain, once, with how many connections there were, until none is left`, () =>
      Effect.gen(function*() {
        const { spans, tracer } = recordSpans()
        const scope = yield* Scope.make()
        const hub = yield* Hub.make().pipe(Scope.extend(scope), Effect.withTracer(tracer))
        const peers = yield* Effect.replicateEffect(TestTransport.make(), 3)
        yield* Effect.forEach(peers, ({ transport }) => hub.accept(transport, (connection) => connection.discard))
        const last = peers[2]?.peer
        if (last === undefined) return assert.fail("three were made")
        yield* last.answerClose(false)
        yield* Effect.fork(end(hub, scope))
        yield* HubTest.settle
        assert.deepStrictEqual(spans.map(({ name, status }) => [name, status._tag]), [["Hub.drain", "Started"]])
        yield* last.reset
        yield* HubTest.settle
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(
          spans.map(({ attributes, name, status }) => [
            name,
            Object.fromEntries(attributes),
            status._tag === "Ended" && status.exit
          ]),
          [["Hub.drain", { connections: 3 }, Exit.void]]
        )
      }))
  }
})
