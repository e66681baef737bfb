/** What a node that is a program of its own and the tests that start it agree on. */
import type { ChannelsOptions } from "../../../src/channels/ChannelsConfig.js"
import type * as Redis from "../../../src/redis/Redis.js"

export const apiKey = "key of the tests"

/** What a node is told. All of it is JSON. */
export interface NodeSettings {
  readonly redis: Redis.Options
  readonly channels: ChannelsOptions
}
