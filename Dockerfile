# One image for every process of the product. On Node 22 and 24, uWebSockets.js needs glibc 2.38: Debian trixie has it.
ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev
COPY tsconfig.json tsconfig.build.json ./
COPY api api
COPY migrations migrations
COPY realtime realtime
COPY shared shared
COPY workers workers
RUN npm run build

FROM node:${NODE_VERSION}-trixie-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# uWebSockets.js brings a binary for every system and every Node; this image keeps its own.
RUN npm ci --omit=dev \
  && find node_modules/uWebSockets.js -name "uws_*.node" \
    ! -name "uws_linux_*_$(node -p process.versions.modules).node" -delete \
  && node -e 'import("uWebSockets.js").then((uws) => uws.default.App())'

FROM node:${NODE_VERSION}-trixie-slim
# The native WebSocket library is part of the image: a start without it fails.
ENV NODE_ENV=production TRANSPORT=uws
WORKDIR /app
# Synapse's configuration is written to this volume. Its owner is the user of Synapse's own image.
RUN install -d -o 991 -g 991 -m 0700 /data
COPY package.json ./
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY deploy/synapse deploy/synapse
COPY deploy/healthy.mjs deploy/healthy.mjs
USER node
EXPOSE 3000 3001 3002 3003
# Another process is another command: see Procfile.
CMD ["node", "dist/api/main.js"]
