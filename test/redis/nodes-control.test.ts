/** What is asked of one node concerns the clients of another, and what they are told while Redis is away. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { sdk } from "../channels/support.js"
import { eventuallyEffect } from "../node/support.js"
import * as HubNode from "./support/HubNode.js"
import { away, present, startNodes } from "./support/Load.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"
import { urlOf } from "./support/Witness.js"

/** A node to ask, one with clients, and their Redis. */
const stage = Effect.gen(function*() {
  const redis = yield* makeRedisServer()
  const { nodes: [asked, other] } = yield* startNodes([{ url: redis.url }, { url: redis.url }])
  if (asked === undefined || other === undefined) return yield* Effect.dieMessage("two nodes")
  yield* eventuallyEffect(Effect.map(HubNode.nodes(asked), (nodes) => nodes === 2))
  const user = (name: string) =>
    Effect.gen(function*() {
      const client = yield* sdk({ url: urlOf(other) }, {
        token: name,
        minReconnectDelay: 60_000,
        maxReconnectDelay: 60_000
      })
      const { client: id } = yield* client.connect
      return { client, id }
    })
  return { redis, asked, other, user }
})

/** What a call of the SDK is rejected with. */
const rejection = (run: () => Promise<unknown>): Effect.Effect<object> =>
  Effect.promise(() => run().then(() => assert.fail("was not refused"), (error: object) => error))

describe.runIf(isRedisInstalled)("one node is asked, and another has the clients", () => {
  it.scopedLive("they are subscribed, unsubscribed, refreshed and disconnected; and nobody else is", () =>
    Effect.gen(function*() {
      const { asked, user } = yield* stage
      const ask = (method: string, params: Readonly<Record<string, unknown>>) =>
        Effect.map(HubNode.ask(asked.port, method, params), (result) => assert.deepStrictEqual(result, {}, method))
      const [ada, adaToo, bob] = yield* Effect.all([user("ada"), user("ada"), user("bob")])
      const hers = [ada, adaToo]
      const his = yield* bob.client.subscribe("room:x")

      yield* ask("subscribe", { user: "ada", channel: "room:x", data: { by: "the server" } })
      for (const { client } of hers) {
        const { channel, data } = yield* client.next("subscribed")
        assert.deepStrictEqual([channel, data], ["room:x", { by: "the server" }])
      }
      yield* present(asked, "room:x", ["ada", "ada", "bob"])
      yield* HubNode.publish(asked, "room:x", 1)
      for (const { client } of hers) assert.strictEqual((yield* client.next("publication")).data, 1)

      yield* ask("unsubscribe", { user: "ada", client: adaToo.id, channel: "room:x" })
      assert.strictEqual((yield* adaToo.client.next("unsubscribed")).channel, "room:x")
      yield* present(asked, "room:x", ["ada", "bob"])
      yield* HubNode.publish(asked, "room:x", 2)
      assert.strictEqual((yield* ada.client.next("publication")).data, 2)

      yield* ask("refresh", { user: "ada", client: ada.id, expired: true })
      const [, again] = yield* ada.client.take("connecting", 2)
      assert.strictEqual(again?.code, 3005)
      yield* present(asked, "room:x", ["bob"])

      yield* ask("disconnect", { user: "ada", disconnect: { code: 4500, reason: "kicked" } })
      const { code, reason } = yield* adaToo.client.next("disconnected")
      assert.deepStrictEqual([code, reason], [4500, "kicked"])

      yield* HubNode.publish(asked, "room:x", 3)
      assert.deepStrictEqual(yield* his.data(3), [1, 2, 3])
      assert.deepStrictEqual(bob.client.heard("disconnected"), [])
      assert.deepStrictEqual(his.heard("unsubscribed"), [])
    }))

  it.scopedLive("while Redis is away a client is told that it cannot publish for now, and stays", () =>
    Effect.gen(function*() {
      const { asked, other, redis, user } = yield* stage
      const { client } = yield* user("ada")
      const [plain, kept] = yield* Effect.all([client.subscribe("plain"), client.subscribe("kept:x")])
      yield* redis.kill
      yield* away(asked, other)
      for (const { sub } of [plain, kept]) {
        assert.deepInclude(yield* rejection(() => sub.publish("lost")), { code: 100, temporary: true })
      }
      const elsewhere = yield* rejection(() => client.client.publish("elsewhere", "lost"))
      assert.deepInclude(elsewhere, { code: 100, temporary: true })
      yield* redis.start
      yield* eventuallyEffect(Effect.zipWith(HubNode.ready(asked), HubNode.ready(other), (one, two) => one && two))
      // Its stream is another now.
      assert.isFalse((yield* kept.next("subscribed")).recovered)
      for (const sub of [plain, kept]) {
        yield* Effect.promise(() => sub.sub.publish("back"))
        assert.deepStrictEqual(yield* sub.data(1), ["back"])
      }
      assert.deepStrictEqual(client.heard("disconnected"), [])
    }))
})
