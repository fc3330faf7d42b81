# syntax=docker/dockerfile:1
# The image of the agent. tools/image makes the same one where there is no container builder: it reads this file's ENV, ENTRYPOINT, CMD and
# LABEL lines and runs the same steps (tools/image-steps).
#
#   docker build -t pointsman:0.1.0 .

FROM debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171 AS system
RUN --mount=type=bind,source=tools,target=/steps /steps/image-steps system

# Wheels of what pointsman imports, as they are pinned, and of pointsman itself. Nothing of this stage is in the image but the wheels' content.
FROM system AS wheels
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3-pip python3-venv
COPY . /source
RUN python3 -m pip download -q --only-binary=:all: --no-deps --require-hashes -d /wheels -r /source/tools/image-lock \
 && python3 -m pip wheel -q --no-deps -w /wheels /source

FROM system
RUN --mount=type=bind,source=tools,target=/steps --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    /steps/image-steps libraries /wheels
RUN --mount=type=bind,source=tools,target=/steps --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    /steps/image-steps program /wheels
ENV PATH=/opt/pointsman/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PYTHONSAFEPATH=1
ENV PYTHONDONTWRITEBYTECODE=1
ENV LC_ALL=C.UTF-8
LABEL org.opencontainers.image.title=pointsman
LABEL org.opencontainers.image.licenses=Apache-2.0
ENTRYPOINT ["pointsman"]
CMD ["run"]
