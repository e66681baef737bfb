/** Mutations of what stands over the core: channels. */
import type { Mutation } from "./mutation.js"

const large = "test/channels/large.test.ts"
const options = "test/channels/options.test.ts"

export const channels: ReadonlyArray<Mutation> = [
  {
    of: "channels",
    what: "what a client missed is recovered, however much it is",
    old: "start.publications.length === 0 || areWithin(bytes, start.publications)",
    new: "true",
    file: large,
    test: "it is not recovered, and is told so, once"
  },
  {
    of: "channels",
    what: "what the server subscribes a client to may fill the reply, each of it",
    old: "(this.mostBytes - given) / shares",
    new: "shares > 0 ? this.mostBytes - given : 0",
    file: large,
    test: "what the server subscribes it to has its share of one reply"
  },
  {
    of: "channels",
    what: "recovery does not wait for the client to read",
    old: "if (params.recover) yield* session.caughtUp",
    new: "",
    file: large,
    test: "recovers all of many channels"
  },
  {
    of: "channels",
    what: "publications of any size are taken",
    old: "return isWithin(this.mostBytes - beside, data)",
    new: "return data !== undefined",
    file: large,
    test: "is refused by 107 as a publication, and the most that is taken arrives"
  },
  {
    of: "channels",
    what: "answers of any size are sent",
    old: "if (!isWithin(this.mostBytes, document)) return Effect.fail(answerTooLarge)",
    new: "",
    file: large,
    test: "is refused by 106 as an answer, and the connection stays"
  },
  {
    of: "channels",
    what: "large answers do not wait for the client to read",
    old: "return Effect.map(this.caughtUp, () => this.reply(document))",
    new: "return Effect.sync(() => this.reply(document))",
    file: large,
    test: "large answers to calls that come one by one"
  },
  {
    of: "channels",
    what: "many small answers do not wait for the client to read",
    old: "this.units < large",
    new: "this.units >= 0",
    file: large,
    test: "all answers to the many calls of one message"
  },
  {
    of: "channels",
    what: "all that is published within a window counts, though only the newest is kept",
    old: "size: ({ data }) => data.length,",
    new: "",
    file: large,
    test: "does not end early, however much is published"
  },
  {
    of: "channels",
    what: "a client is told of the end of what no token granted",
    old: "ttl: subscription.refreshable ? Expiry.ttlOf(grant.expireAt, session.node.unixTime()) : undefined",
    new: "ttl: Expiry.ttlOf(grant.expireAt, session.node.unixTime())",
    file: options,
    test: "ends with 2501, and the client, which has no token to renew, asks again"
  },
  {
    of: "channels",
    what: "joins and leaves have the channel's key under conflate",
    old: "channel.to(hears)",
    new: "channel.to(hears, channel.name)",
    file: options,
    test: "conflate: a join or a leave takes the place of no publication, nor of one another"
  },
  {
    of: "channels",
    what: "what a client is told about itself is under the hub's policy",
    old: "Frame.make(document, own)",
    new: "Frame.make(document)",
    file: options,
    test: "drops nothing that a client is told about itself: it is closed with 3008"
  },
  {
    of: "channels",
    what: "a personal channel whose name cannot be is subscribed to",
    old: "if (found?.name === namespace) return channel",
    new: "if (channel !== undefined && found?.name !== \"\\0\") return channel",
    file: "test/channels/access.test.ts",
    test: "a user whose id cannot stand in a name connects without"
  },
  {
    of: "channels",
    what: "whoever brings a token with an unknown key writes to the log",
    old: "cause instanceof KeysUnavailable && cause.isKnown ? LogLevel.Debug : LogLevel.Error",
    new: "cause instanceof KeysUnavailable ? LogLevel.Error : LogLevel.Error",
    file: "test/channels/tokens.test.ts",
    test: "only what a fetch found out is told by the log, however many bring keys that there are not"
  },
  {
    of: "nodes",
    what: "the registry has the name that a channel can have",
    old: "const registry = \"\\u0000:nodes\"",
    new: "const registry = \"\\u0000nodes\"",
    file: "test/redis/cluster-control.test.ts",
    test: "a client that leaves the names by which nodes hear each other does not make its node deaf"
  },
  {
    of: "nodes",
    what: "an answer to another node may be of any size",
    old: "answer: bounded(answer)",
    new: "answer",
    file: "test/redis/cluster-control.test.ts",
    test: "an answer may not be so long that Redis would cut off who asked"
  },
  {
    of: "nodes",
    what: "a failover does not reach a link that asks where the master is",
    old: "yield* Effect.raceFirst(this.locate, lost)",
    new: "yield* this.locate",
    file: "test/redis/link.test.ts",
    test: "is dropped while it is asked where the server is: it asks again"
  },
  {
    of: "nodes",
    what: "subscribing may take for ever",
    old: "setTimeout(() => afterReading(leave), millis)",
    new: "setTimeout(() => {}, millis)",
    file: "test/redis/faults.test.ts",
    test: "stopped: subscribing ends in time, and leaves nothing behind; who waits longer is told of it"
  },
  {
    of: "the program",
    what: "a section that holds secrets is shown",
    old: "if (setting === undefined && hasSecrets(path)) return kindOf(actual)",
    new: "if (setting === undefined && hasSecrets([])) return shown(actual)",
    file: "test/server/secrets.test.ts",
    test: "is told by its kind"
  },
  {
    of: "the program",
    what: "a flag is cut at commas",
    old: "[[variable, given] as const]",
    new: "[[variable, [given.join(\",\")]] as const]",
    file: "test/server/sources.test.ts",
    test: "in flags is one value each time, commas and all"
  }
]
