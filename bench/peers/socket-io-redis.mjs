/**
 * Socket.IO with one of its two adapters for Redis: node socket-io-redis.mjs PORT REDIS_URL pubsub|streams. What comes
 * as "m" goes to the room that the clients of all nodes are in.
 */
import { createAdapter as createPubSub } from "@socket.io/redis-adapter"
import { createAdapter as createStreams } from "@socket.io/redis-streams-adapter"
import { createServer } from "node:http"
import { createClient } from "redis"
import { Server } from "socket.io"

const [port, url, kind] = process.argv.slice(2)
const client = async () => {
  const made = createClient({ url })
  made.on("error", (error) => console.error(error))
  return made.connect()
}
const adapter = kind === "streams" ? createStreams(await client()) : createPubSub(await client(), await client())

const server = createServer((_request, response) => response.writeHead(404).end())
const io = new Server(server, { transports: ["websocket"], serveClient: false, adapter })

io.on("connection", (socket) => {
  socket.join("all")
  socket.on("m", (text) => io.to("all").emit("m", text))
})

server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"))
