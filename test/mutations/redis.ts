/** What holds between nodes and Redis. */
import type { Mutation } from "./mutation.js"

const failover = "test/redis/failover.test.ts"
const faults = "test/redis/faults.test.ts"
const presence = "test/redis/presence.test.ts"
const backoff = "test/redis/backoff.test.ts"
const full = "a server whose memory is full lets nobody in, and knows who is there"

export const redis: ReadonlyArray<Mutation> = [
  {
    of: "Redis",
    what: "a replica that takes no writes is as good as a master",
    old:
      "if (isReadOnly(yield* info(\"replication\"))) return yield* failure(\"it is a replica, and takes no writes\")",
    new: "",
    file: failover,
    test: "to a replica that takes no writes: Redis is away, until it takes them"
  },
  {
    of: "Redis",
    what: "who answers that it is a replica is asked again and again",
    old:
      "if (error instanceof Error && error.message.startsWith(\"READONLY\")) shard.drop(new RedisFailure({ cause: error }))",
    new: "if (error instanceof RedisFailure) shard.drop(error)",
    file: failover,
    test: "to a replica that takes no writes: Redis is away, until it takes them"
  },
  {
    of: "Redis",
    what: "Sentinels are asked one after the other",
    old: "Effect.raceAll(attempts)",
    new: "Effect.firstSuccessOf(attempts)",
    file: failover,
    test: "that a Sentinel is asked for: the old master takes no more, and other Sentinels may be mute"
  },
  {
    of: "Redis",
    what: "only the first Sentinel is listened to",
    old: "Effect.forEach(sentinels, (sentinel) => {",
    new: "Effect.forEach(sentinels.slice(0, 1), (sentinel) => {",
    file: failover,
    test: "of a master that is mute: any Sentinel tells, and nobody waits for the master"
  },
  {
    of: "Redis",
    what: "a server that cannot write to its disk is away",
    old: "error.message.startsWith(\"MISCONF\")",
    new: "error.message.startsWith(\"NEVER\")",
    file: faults,
    test: "cannot write to its disk: what changes nothing there goes on, and the rest says why it does not"
  },
  {
    of: "Redis",
    what: "the log has the first reason only",
    old: "this.said.has(reason) || this.said.size >= mostReasons",
    new: "this.said.size > 0",
    file: backoff,
    test: "warns of each reason once, and of five at most"
  },
  {
    of: "Redis",
    what: "the log has any number of reasons",
    old: "this.said.has(reason) || this.said.size >= mostReasons",
    new: "this.said.has(reason)",
    file: backoff,
    test: "warns of each reason once, and of five at most"
  },
  {
    of: "Redis",
    what: "any number of commands may wait",
    old: "count < config.maxPending && units < config.maxPendingUnits",
    new: "units < config.maxPendingUnits",
    file: faults,
    test: "stopped: commands end in time, and what waits for an answer is bounded"
  },
  {
    of: "Redis",
    what: "what waits may be of any size",
    old: "count < config.maxPending && units < config.maxPendingUnits",
    new: "count < config.maxPending",
    file: faults,
    test: "the bound is also one of size"
  },
  {
    of: "Redis",
    what: "an answer that is there and was not read is late",
    old: "afterReading(this.endOverdue)",
    new: "this.endOverdue()",
    file: "test/redis/link.test.ts",
    test: "takes an answer that came while the process was busy, and its command is not late"
  },
  {
    of: "Redis",
    what: "nobody is told of what may have been missed",
    old: "for (const owner of gaps) this.ear.onGap(owner)",
    new: "",
    file: faults,
    test: "the connection that hears is cut: everything is subscribed again, and then a gap is told"
  },
  {
    of: "Redis",
    what: "a server is not told of the scripts before they are called",
    old: "yield* Effect.ignore(load)",
    new: "",
    file: "test/redis/cost.test.ts",
    test: "no server is asked for a script that it does not know, so that nothing overtakes what is asked first"
  },
  {
    of: "Redis",
    what: "a later command overtakes those that wait for a slot",
    old: "if (this.queues.size === 0 || !this.queues.has(slot)) return this.send(call, this.places.ownerOf(slot))",
    new: "if (this.queues.size >= 0) return this.send(call, this.places.ownerOf(slot))",
    file: "test/redis/slot-moves.test.ts",
    test: "what one node publishes in a channel stays in its order"
  },
  {
    of: "Broker",
    what: "a stream goes on after Redis has restarted with what it had saved",
    old: "if string.sub(e, 9) == ARGV[1] then s = tonumber(string.sub(m, 1, at - 1)) else m = false end",
    new: "s = tonumber(string.sub(m, 1, at - 1))",
    file: faults,
    test: "restarted with what it had saved: another epoch, since offsets may have been given after that"
  },
  {
    of: "Broker",
    what: "an idempotency key is forgotten",
    old: "redis.call('SET', KEYS[3], m, 'PX', ARGV[6])",
    new: "",
    file: "test/redis/broker.test.ts",
    test: "the laws hold of the broker on Redis, on"
  },
  {
    of: "Presence",
    what: "leases that are over are ended all at once, however many",
    old: "\"-inf\", now, \"LIMIT\", 0, most)",
    new: "\"-inf\", now, \"LIMIT\", 0, 7000)",
    file: presence,
    test: "many leases that end together are never counted or listed again, and leave nothing"
  },
  {
    of: "Presence",
    what: "a server whose memory is full ends no lease",
    old: "local gone = redis.call(\"HMGET\", entries, unpack(ended))",
    new: "redis.call(\"HINCRBY\", users, \"\", 0) local gone = redis.call(\"HMGET\", entries, unpack(ended))",
    file: presence,
    test: full
  },
  {
    of: "Presence",
    what: "a server whose memory is full removes nobody",
    old: "local entry = redis.call(\"HGET\", entries, ARGV[1])",
    new: "redis.call(\"HINCRBY\", users, \"\", 0) local entry = redis.call(\"HGET\", entries, ARGV[1])",
    file: presence,
    test: full
  },
  {
    of: "Presence",
    what: "a server whose memory is full lets leases end of who is there",
    old: "redis.pcall(\"ZADD\"",
    new: "redis.call(\"ZADD\"",
    file: presence,
    test: full
  },
  {
    of: "the server API",
    what: "a long batch keeps everybody waiting",
    old: "if (now - began < longest) return Effect.void",
    new: "if (now - began < longest * 1000) return Effect.void",
    file: "test/server/api.test.ts",
    test: "a long batch lets others in, and ends when its caller has gone"
  },
  {
    of: "the server API",
    what: "a broadcast goes to one channel after the other",
    old: "{ concurrency: together }",
    new: "{ concurrency: 1 }",
    file: "test/server/api.test.ts",
    test: "broadcast does not wait for one channel before it publishes to the next"
  },
  {
    of: "the server API",
    what: "every call that fails while the broker is away is an error in the log",
    old: "const isKnown = this.isAway",
    new: "const isKnown = this.isAway && message === \"\"",
    file: "test/server/api.test.ts",
    test: "a broker that is away: error 100 each time, and one line in the log for an outage"
  },
  {
    of: "the server API",
    what: "the log has the first outage only",
    old: "Effect.tap(() => faults.worked())",
    new: "Effect.tap(() => faults)",
    file: "test/server/api.test.ts",
    test: "a broker that is away: error 100 each time, and one line in the log for an outage"
  }
]
