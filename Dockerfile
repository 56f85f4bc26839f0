# One image for every process of the product. Debian trixie: uWebSockets.js needs glibc, 2.38 with Node 22 and newer.
ARG NODE_VERSION=20

FROM node:${NODE_VERSION}-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# `install`, since `ci` also wants packages for systems that this image is not; the lockfile's versions are kept.
RUN npm install --no-save --include=dev
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
# uWebSockets.js brings binaries for every system and Node; this image needs its own.
RUN npm install --no-save --omit=dev \
  && find node_modules/uWebSockets.js -name "uws_*.node" \
    ! -name "uws_linux_*_$(node -p process.versions.modules).node" -delete \
  && node -e 'import("uWebSockets.js").then((uws) => uws.default.App())'

FROM node:${NODE_VERSION}-trixie-slim
# The native WebSocket library is part of the image: a start without it fails.
ENV NODE_ENV=production TRANSPORT=uws
WORKDIR /app
# The configuration that is made for Synapse lives on a volume, as the user that Synapse's own image runs as.
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
