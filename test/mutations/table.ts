/** All mutations that `npm run mutations` tries. */
import { bounds } from "./bounds.js"
import { channels } from "./channels.js"
import { handlers } from "./handlers.js"
import { laws } from "./laws.js"
import type { Mutation } from "./mutation.js"
import { origin } from "./origin.js"
import { reading } from "./reading.js"
import { redis } from "./redis.js"
import { sockets } from "./sockets.js"

export const mutations: ReadonlyArray<Mutation> = [
  ...laws,
  ...bounds,
  ...sockets,
  ...origin,
  ...channels,
  ...handlers,
  ...reading,
  ...redis
]
