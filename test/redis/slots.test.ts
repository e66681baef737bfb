import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisConnection from "../../src/redis/RedisConnection.js"
import { hashOf, heaviest } from "../../src/redis/RedisShards.js"
import { ownerSlot, slotOf } from "../../src/redis/RedisSlots.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { isRedisInstalled } from "./support/RedisServer.js"

const owners = ["", "a", "%", "}", "{", "{}", "a}b", "a{b}c", "%7D", "a%}", "\u00fc", "\u{1F600}", "\u0000nodes", "a:m"]

describe("where names are", () => {
  it.scopedLive.skipIf(!isRedisInstalled)(
    "all names of an owner are in the slot that a Cluster says",
    () =>
      Effect.gen(function*() {
        const [server] = yield* makeRedisCluster({ masters: 1 })
        if (server === undefined) return assert.fail("no server")
        const { key } = yield* RedisConnection.make({ cluster: [server.url] })
        const names = owners.flatMap((owner) => [key(owner), key(owner, "m"), key(owner, "i:}{")])
        // An argument of a command line has no zero.
        for (const name of names.filter((name) => !name.includes("\u0000"))) {
          assert.strictEqual(yield* server.cli("CLUSTER", "KEYSLOT", name), `${slotOf(name)}`, name)
        }
        for (const owner of owners) {
          for (const name of [key(owner), key(owner, "m"), key(owner, "i:}{")]) {
            assert.strictEqual(slotOf(name), ownerSlot(owner), name)
          }
        }
        assert.strictEqual(new Set(owners.map((owner) => key(owner))).size, owners.length)
      })
  )

  it("each of several servers has its share, and a new one takes its own from all", () => {
    const servers = Array.from({ length: 5 }, (_, index) => hashOf(`10.0.0.${index}:6379/0`))
    const names = Array.from({ length: 20_000 }, (_, index) => `room:${index}`)
    const before = names.map((name) => heaviest(name, servers.slice(0, 4)))
    const after = names.map((name) => heaviest(name, servers))
    for (let index = 0; index < 4; index++) {
      const share = before.filter((server) => server === index).length
      assert.isAbove(share, 4_700)
      assert.isBelow(share, 5_300)
    }
    const moved = names.filter((_, index) => before[index] !== after[index])
    assert.isAbove(moved.length, 3_700)
    assert.isBelow(moved.length, 4_300)
    assert.isTrue(names.every((_, index) => before[index] === after[index] || after[index] === 4))
  })
})
